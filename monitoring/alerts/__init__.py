"""The alerts, a module for each part of the system; `rules` puts them into one file."""
