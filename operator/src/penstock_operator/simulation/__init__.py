"""A cluster in memory, for property tests: an API server, and the controllers and pods around it."""
