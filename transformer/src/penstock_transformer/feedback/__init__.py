"""What became of predictions: the sampled log of them, the outcomes that are told later, and how good they were."""
