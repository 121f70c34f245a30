"""The relay's way to Kafka: one producer under the slot's name, and the markers' topic. Blocking, on one thread of its own.

open(slot) -> the producer under `penstock-relay-<slot>`     send(slot, number, intents) -> records and marker, one transaction
marker(slot) -> the number that the slot sent last
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from penstock_transformer.broker.port import BrokerError, Outlet
from penstock_transformer.relay.port import Intent
from penstock_transformer.relay.publishing import marker_of, request_of


class Markers(Protocol):
    """Reads the markers' topic."""

    def last(self, slot: str) -> int:
        """The number of the slot's last marker (0: none), of all that was committed before this call. Raises BrokerError."""

    def close(self) -> None: ...


class KafkaLink:
    """`open_outlet` makes the producer with a transactional id; `prepare` sees to it that a model's topic is there, and
    `prepare_markers` that the markers' is."""

    def __init__(
        self,
        open_outlet: Callable[[str], Outlet],
        markers: Markers,
        prepare: Callable[[str], None],
        prepare_markers: Callable[[], None],
    ) -> None:
        self._open_outlet = open_outlet
        self._markers = markers
        self._prepare = prepare
        self._prepare_markers = prepare_markers
        self._markers_prepared = False
        self._prepared: set[str] = set()
        self._outlet: Outlet | None = None

    def open(self, slot: str) -> None:
        """Take the slot's transactional id over. Raises BrokerError."""
        self.close_outlet()
        if not self._markers_prepared:
            self._prepare_markers()
            self._markers_prepared = True
        outlet = self._open_outlet(f"penstock-relay-{slot}")
        outlet.open()
        self._outlet = outlet

    def restore(self) -> None:
        """A producer that works again. Raises BrokerError."""
        self._opened().restore()

    def marker(self, slot: str) -> int:
        """What the slot sent last. Raises BrokerError."""
        return self._markers.last(slot)

    def send(self, slot: str, number: int, intents: Sequence[Intent]) -> None:
        """All of it and the marker, or nothing. Raises as `Outlet.commit`."""
        for model in {intent.model for intent in intents} - self._prepared:
            self._prepare(model)
            self._prepared.add(model)
        records = [request_of(intent) for intent in intents]
        records.append(marker_of(slot, number))
        self._opened().commit(records, {}, None)

    def close_outlet(self) -> None:
        """Let the producer go."""
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            outlet.close()

    def close(self) -> None:
        """Let everything go."""
        self.close_outlet()
        self._markers.close()

    def _opened(self) -> Outlet:
        if self._outlet is None:
            raise BrokerError("the producer is not open")
        return self._outlet
