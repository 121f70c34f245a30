"""Kafka behind a narrow port: what worker, relay, sink, feature updates and the queue monitor ask of a broker."""
