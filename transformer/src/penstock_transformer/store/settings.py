"""How long the store may take, how much may be under way, how often a lost one is tried again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The settings of every online store; each store uses those that mean something to it.

    `timeout_s`: a read or write that takes longer is an UpstreamUnavailable (the connection's making included).
    `max_in_flight`: reads and writes under way at once; one more is refused as Overloaded.
    `connections`: of a PostgreSQL store. Redis needs one: its reads travel behind each other in one pipeline.
    `backoff_s` to `max_backoff_s`: after a failed connection the next is tried no sooner, doubling;
    reads in between fail at once.
    `inline_keys`: an SQLite read of up to this many keys runs on the event loop, where it costs less than the way to a thread.
    """

    timeout_s: float = 1.0
    max_in_flight: int = 256
    connections: int = 4
    backoff_s: float = 0.05
    max_backoff_s: float = 2.0
    inline_keys: int = 128


DEFAULT = StoreSettings()
