"""The online feature store: readers and writers of the layouts that Feast writes."""
