"""Two outlets that take turns, so that a transaction need not wait for the broker to be done with the one before.

    commit 1 --first-->   the broker marks the end of it in every partition ...
    commit 2 --second-->  ... while this one is written: under one id it would be refused until that is over
                          (CONCURRENT_TRANSACTIONS), and librdkafka asks again after 20 ms

Still one transaction at a time: the next begins when the end of the one before is durable, and offsets and records stand in the
order of their transactions whatever is marked first (a group takes the offset that was written last, readers stop at the first
record of what is not marked yet).

Invariant: nothing is committed behind what is still open. Who opens it has taken over both ids before it returns, so that nothing
of an earlier owner is; and an outlet that failed and could not even abort is made to work before the other one commits: readers
would stop at what it left, and offsets would wait for it, until its time-out. Two that open at the same moment may each take one
id from the other: both are fenced then, by their second commit at the latest.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from penstock_transformer.broker.port import BrokerError, Outlet
from penstock_transformer.broker.records import OutRecord, Partition


class Alternating:
    """See `broker.port.Outlet`. The outlets have transactional ids of their own."""

    def __init__(self, first: Outlet, second: Outlet) -> None:
        self._next, self._other = first, second

    def open(self) -> None:
        """Take both ids over. Raises Retriable, and then neither is held."""
        self._next.open()
        try:
            self._other.open()
        except BaseException:
            with suppress(BrokerError):
                self._next.close()
            raise

    def commit(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: Any) -> None:
        """As `Outlet.commit`, by the one whose turn it is, once the other works."""
        self._other.restore()
        outlet, self._next, self._other = self._next, self._other, self._next
        outlet.commit(records, offsets, group)

    def restore(self) -> None:
        """Both work again: what either left open is committed or aborted."""
        self._next.restore()
        self._other.restore()

    def close(self) -> None:
        """Leave, both of them in any case."""
        try:
            self._next.close()
        finally:
            self._other.close()
