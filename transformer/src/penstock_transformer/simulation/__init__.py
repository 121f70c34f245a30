"""A model of everything around the worker's machine, and faults in it: histories by number, each checked from its logs alone."""
