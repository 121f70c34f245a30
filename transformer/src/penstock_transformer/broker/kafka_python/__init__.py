"""The broker's port on kafka-python, the default client: all Python, so that it runs wherever Python does."""
