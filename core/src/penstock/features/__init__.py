"""The feature spec: what to fetch, what a missing value means, and how values become the model's tensors."""
