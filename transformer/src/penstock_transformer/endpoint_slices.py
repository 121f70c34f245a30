"""The endpoints of one Service as its EndpointSlices tell them: a state machine without I/O.

    list, ADDED, MODIFIED, DELETED, BOOKMARK --> slices by name, resource version --> endpoints that are ready
                                                                                      none is: those that were

A Service may have several slices, and an address may stand in two of them while it moves: what counts is the union. Pods that
are on their way out are left out as soon as they say so, before they refuse. (KEP-752; discovery.k8s.io/v1)

All pods of a node whose kubelet is silent, or whose probes time out under load, turn unready at once, and most of them work: to
ask one that was ready is better than to refuse for certain. One that never was ready has yet to load its model.
"""

from dataclasses import dataclass
from typing import Any

from penstock_transformer.endpoints import Endpoint

# Where the Service's own port could not be looked up, and a slice has several: these names mean HTTP.
_HTTP_NAMES = ("http", "http1", "http2", "h2c", "")


@dataclass(frozen=True, slots=True)
class _Slice:
    ready: frozenset[Endpoint] = frozenset()
    unready: frozenset[Endpoint] = frozenset()


class EndpointSlices:
    """`port_name`: the name of the Service's port, None if it is not known. `version`: where a watch goes on from."""

    def __init__(self, port_name: str | None = None) -> None:
        self.port_name = port_name
        self.version = ""
        self._slices: dict[str, _Slice] = {}
        self._were_ready: frozenset[Endpoint] = frozenset()

    def replace(self, document: dict[str, Any]) -> None:
        """Take in a whole list. Raises KeyError, TypeError, ValueError or AttributeError for what is none."""
        slices = {str(item["metadata"]["name"]): self._of(item) for item in document.get("items") or ()}
        self.version = str(document["metadata"]["resourceVersion"])
        self._slices = slices
        self._changed()

    def apply(self, event: dict[str, Any]) -> bool:
        """Take in an event of a watch. False if the watch cannot go on and a list is needed (410 Gone, or any other error).
        Raises as `replace` does."""
        kind, item = event.get("type"), event.get("object") or {}
        if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
            return False
        metadata = item.get("metadata") or {}
        if kind == "DELETED":
            self._slices.pop(str(metadata.get("name")), None)
        elif kind != "BOOKMARK":
            self._slices[str(metadata.get("name"))] = self._of(item)
        self.version = str(metadata.get("resourceVersion", self.version))
        self._changed()
        return True

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every address that takes requests, each once, in order."""
        return tuple(sorted(self._ready() or self._were_ready))

    def _ready(self) -> frozenset[Endpoint]:
        return frozenset().union(*(each.ready for each in self._slices.values()))

    def _changed(self) -> None:
        self._were_ready &= frozenset().union(*(each.unready for each in self._slices.values()))
        self._were_ready |= self._ready()

    def _of(self, item: dict[str, Any]) -> _Slice:
        port = self._port(item.get("ports") or [])
        if port is None:
            return _Slice()
        told = [
            (Endpoint(str(each["addresses"][0]), port, lasting=True), each.get("conditions") or {})
            for each in item.get("endpoints") or ()
            if each.get("addresses")
        ]
        ready = frozenset(endpoint for endpoint, conditions in told if _ready(conditions))
        staying = frozenset(endpoint for endpoint, conditions in told if not conditions.get("terminating"))
        return _Slice(ready, staying - ready)

    def _port(self, ports: list[dict[str, Any]]) -> int | None:
        by_name = {str(port.get("name") or ""): int(port["port"]) for port in ports if port.get("port")}
        if self.port_name is not None:
            return by_name.get(self.port_name)
        if len(by_name) == 1:
            return next(iter(by_name.values()))
        return next((by_name[name] for name in _HTTP_NAMES if name in by_name), None)


def _ready(conditions: dict[str, Any]) -> bool:
    # None means unknown, which the API's documentation says to take as ready.
    return conditions.get("ready") is not False and not conditions.get("terminating")
