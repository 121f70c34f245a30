"""Alembic's environment: how a database of an earlier release becomes one of this (`migrating.py` runs it at opening)."""
