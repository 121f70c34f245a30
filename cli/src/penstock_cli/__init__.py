"""Penstock's cli."""
