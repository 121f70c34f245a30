"""Penstock's predictor."""
