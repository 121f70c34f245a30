"""The relay: what was submitted to the database goes to Kafka, each once, whatever dies in between."""
