"""Predictions in a database: SQLite for one process, PostgreSQL for many. One schema, one meaning (`predictions.port`)."""
