"""`penstock-transformer log-sink`: prediction logs and outcomes from Kafka into a folder of Parquet files."""
