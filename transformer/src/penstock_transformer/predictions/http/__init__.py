"""The predictions resource over HTTP: submit, look, list, cancel, follow."""
