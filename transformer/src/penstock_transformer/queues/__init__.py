"""The queues watched: how far behind the workers are, what could not be predicted, and putting that back."""
