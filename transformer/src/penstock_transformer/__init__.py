"""Penstock's transformer."""
