"""The sink: what came of predictions on Kafka is written to the database, where those who asked look for it."""
