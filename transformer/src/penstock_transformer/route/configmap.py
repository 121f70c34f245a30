"""One ConfigMap as the API server tells of it: a state machine without I/O.

    list, ADDED, MODIFIED, DELETED, BOOKMARK, get --> seen: the object's identity, its route's text or what is wrong with it

Two ways bring news: the watch, and now and then a get, which is true at the moment of its answer. An event of the watch that is
older than that changes nothing.
"""

from dataclasses import dataclass
from typing import Any

from penstock_transformer.route_file import MAX_BYTES

KEY = "route.yaml"
# The revision that most pods of the model apply, written by who has asked them: the operator.
MOST_APPLY = "penstock.dev/acknowledged"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a ConfigMap said. `text` None: it has no route that could be read, and `wrong` says why. `most_apply` 0: not
    said."""

    uid: str
    version: str
    text: str | None
    wrong: str = ""
    most_apply: int = 0


class ConfigMapState:
    """The ConfigMap `name` of a namespace. `seen` None: there is none. `known`: the API server has said so, or what it is."""

    def __init__(self, name: str) -> None:
        self.version = ""
        self.known = False
        self.seen: Seen | None = None
        self._name = name

    def replace(self, document: dict[str, Any]) -> None:
        """Take in a whole list."""
        found = [seen_of(item) for item in document.get("items") or () if item["metadata"]["name"] == self._name]
        self.version = str(document["metadata"]["resourceVersion"])
        self.take(found[0] if found else None)

    def take(self, seen: Seen | None) -> bool:
        """What the API server holds at this moment; whether that is news."""
        news = not self.known or seen != self.seen
        self.known, self.seen = True, seen
        return news

    def apply(self, event: dict[str, Any]) -> bool:
        """Take in an event of a watch. False if the watch cannot go on and a list is needed (410 Gone, or any other error)."""
        kind, item = event.get("type"), event.get("object") or {}
        if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
            return False
        metadata = item["metadata"]
        version = str(metadata["resourceVersion"])
        if kind != "BOOKMARK" and metadata["name"] == self._name and not self._outdated(version):
            self.take(None if kind == "DELETED" else seen_of(item))
        self.version = version
        return True

    def _outdated(self, version: str) -> bool:
        # kubernetes.io/docs/reference/using-api/api-concepts: versions of one kind of object are numbers that grow.
        seen = self.seen.version if self.seen is not None else ""
        return seen.isdecimal() and version.isdecimal() and int(version) < int(seen)


def seen_of(item: dict[str, Any]) -> Seen:
    """A ConfigMap's document as a value. Raises KeyError, TypeError or AttributeError for what is none."""
    metadata = item["metadata"]
    data, binary = item.get("data") or {}, item.get("binaryData") or {}
    text = data.get(KEY)
    wrong = ""
    if KEY in binary:
        wrong = "expected text, got binary data"
    elif not isinstance(text, str):
        wrong = f"missing; there is {', '.join(sorted(map(str, {**data, **binary})))[:200] or 'nothing'}"
    elif len(text) > MAX_BYTES:
        wrong = f"{len(text)} characters, the limit is {MAX_BYTES}"
    most_apply = str((metadata.get("annotations") or {}).get(MOST_APPLY, ""))
    return Seen(
        str(metadata["uid"]),
        str(metadata["resourceVersion"]),
        None if wrong else text,
        wrong,
        int(most_apply) if most_apply.isascii() and most_apply.isdecimal() and len(most_apply) <= 16 else 0,
    )
