"""An outlet for updates: dead letters and offsets in one commit, and nothing for what went into the store.

Commit(records, offsets) --without NOTHING--> the real outlet          a place in its answer is a place in what was asked
"""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock_transformer.broker.port import Outlet, TooLargeForTopic
from penstock_transformer.broker.records import OutRecord, Partition
from penstock_transformer.updates.updating import NOTHING


class LettersOnly:
    """An `Outlet` over another."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self.open = outlet.open
        self.restore = outlet.restore
        self.close = outlet.close

    def commit(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: Any) -> None:
        """As `Outlet.commit`, of the dead letters among the records."""
        places = [place for place, record in enumerate(records) if record is not NOTHING]
        try:
            self._outlet.commit([records[place] for place in places], offsets, group)
        except TooLargeForTopic as error:
            at = places[error.at] if error.at is not None else places[0] if len(places) == 1 else None
            raise TooLargeForTopic(error.message, at=at) from error
