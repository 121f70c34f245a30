"""The worker: records in, predictions out, exactly once. A pure state machine with its input and output outside of it."""
