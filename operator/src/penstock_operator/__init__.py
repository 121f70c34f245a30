"""Penstock's operator."""
