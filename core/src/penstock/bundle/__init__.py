"""The bundle: everything that decides a prediction, under one digest."""
