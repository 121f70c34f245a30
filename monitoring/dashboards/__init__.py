"""The dashboards, a module each; every module has `board()`."""
