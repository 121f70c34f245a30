"""What `Intake.group` gives and `Outlet.commit` takes: a group's membership of one moment."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from penstock_transformer.broker.records import Partition


class Membership(NamedTuple):
    """`metadata` is the client's own, which a transaction carries so that the broker refuses an older generation's offsets.
    `commit` commits offsets without a transaction; any thread may call it. Raises as `Outlet.commit` does."""

    metadata: Any
    commit: Callable[[Mapping[Partition, int]], None]
