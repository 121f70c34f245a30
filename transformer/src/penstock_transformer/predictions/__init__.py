"""Predictions as a resource: submitted, kept, answered later, under one id on every transport."""
