"""The broker's port on confluent-kafka (librdkafka): a fifth of the CPU a record, chosen by `--kafka_client confluent`."""
