"""Dashboards and alerts of Penstock, written as code: `make dashboards` makes the files of charts/penstock/files from it."""
