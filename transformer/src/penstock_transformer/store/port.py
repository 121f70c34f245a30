"""The feature store as the pipeline sees it: one read for a whole batch, rows written with compare-and-set on event time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from penstock.columns import Column
from penstock.errors import UpstreamUnavailable


@dataclass(frozen=True, slots=True)
class SetRead:
    """What to read of one feature view: `keys` are distinct entity keys, each a tuple of Python values in the order of the
    view's join keys (as the layout lists them); `features` the view's value columns that are wanted."""

    view: str
    keys: Sequence[tuple[Any, ...]]
    features: tuple[str, ...]


@dataclass(slots=True)
class SetColumns:
    """The answer to a `SetRead`: a column per feature, one row per key in the order asked; `event_times` float64 seconds since
    the epoch, NaN for a key that the store does not hold."""

    columns: dict[str, Column]
    event_times: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowWrite:
    """One entity's values for one view. `values` maps feature name to a Python value or None; `event_time` in epoch seconds."""

    view: str
    key: tuple[Any, ...]
    values: dict[str, Any]
    event_time: float


class UnreadableValue(UpstreamUnavailable):
    """The store answers, and holds a value that is not of the layout's type: the fault of one entity, not of the store."""


class FeatureStore(Protocol):
    """An online store. `read` makes one pipelined round trip whatever the number of views and keys."""

    async def start(self) -> None:
        """Connect and check. Raises UpstreamUnavailable if the store cannot be reached."""

    async def read(self, reads: Sequence[SetRead]) -> list[SetColumns]:
        """Raises UpstreamUnavailable after `close`, and within the store's timeout if it is away; UnreadableValue for one that
        is not of its type, InvalidInput for a key of the wrong type."""

    async def write(self, rows: Sequence[RowWrite]) -> list[bool]:
        """True for each row written, False for one that is older than (or as old as) what the store holds."""

    async def delete(self, view: str, keys: Sequence[tuple[Any, ...]]) -> int:
        """Remove entities; the number that existed."""

    async def scan(self, view: str, cursor: str | None, limit: int) -> tuple[list[tuple[Any, ...]], str | None]:
        """Keys of a view, a page at a time, and the cursor of the next page or None."""

    async def close(self) -> None: ...
