"""What the worker's machine has counted: plain integers, read by the metrics when they are scraped."""

from collections import Counter


class Tally:
    """Counts since the process started. Records out are counted when they are durable, not when they are made."""

    __slots__ = ("aborts", "deaths", "dropped", "letters", "predictions", "rebalances", "records", "retries", "transactions")

    def __init__(self) -> None:
        self.records = 0
        self.predictions = 0
        self.letters: Counter[str] = Counter()
        self.dropped = 0
        self.retries = 0
        self.deaths = 0
        self.transactions = 0
        self.aborts: Counter[str] = Counter()
        self.rebalances = 0
