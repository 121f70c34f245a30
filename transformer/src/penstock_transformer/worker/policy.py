"""The numbers that the worker's machine goes by."""

from dataclasses import dataclass, field

from penstock_transformer.backoff import Backoff


@dataclass(frozen=True, slots=True)
class Policy:
    """`held_records` and `held_bytes` bound what is held from reading to commit; `transaction_records` and `transaction_bytes`
    what one transaction writes; `interval_s` is the least time from the begin of one to the begin of the next, unless it is full.
    A record that ends a healthy predictor alone `deaths_most` times is a dead letter."""

    held_records: int = 8192
    held_bytes: int = 256 * 2**20
    transaction_records: int = 2000
    transaction_bytes: int = 16 * 2**20
    interval_s: float = 0.0
    deaths_most: int = 3
    backoff: Backoff = field(default_factory=Backoff)
