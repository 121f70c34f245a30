"""The API server in memory: optimistic locking, server-side apply, finalizers, owners, watches.

As much of the real one as the operator can tell apart. What it writes for one field manager replaces what that manager had
applied before; lists are replaced as wholes.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import orjson

from penstock_operator.cluster import Change, Changed, Kind, Missing, Object

Key = tuple[str, str, str]


class MemoryCluster:
    """Implements `Cluster`. `now` gives creation times."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.history: list[tuple[int, Kind, Change]] = []
        self.second = 0
        self._applied: dict[tuple[Key, str], Object] = {}
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)
        self._changed = asyncio.Event()

    # --- the port

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return _copied(self._there(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[list[Object], str]:
        found = []
        for (plural, inside, _), document in sorted(self.objects.items()):
            has = document["metadata"].get("labels") or {}
            if plural == kind.plural and namespace in (None, inside) and _selects(labels, has):
                found.append(_listed(kind, document))
        return found, str(len(self.history))

    async def watch(self, kind: Kind, namespace: str | None, since: str, *, labels: str = "") -> AsyncIterator[Change]:
        at = int(since)
        while True:
            for _, changed, change in self.history[at:]:
                metadata = change.object["metadata"]
                has = metadata.get("labels") or {}
                if changed == kind and namespace in (None, metadata["namespace"]) and _selects(labels, has):
                    yield Change(change.type, _copied(change.object))
            at = len(self.history)
            self._changed.clear()
            await self._changed.wait()

    async def create(self, kind: Kind, document: Object) -> Object:
        if self._key(kind, document) in self.objects:
            raise Changed(f"{document['metadata']['name']} exists", 409)
        return await self.apply(kind, document)

    async def apply(self, kind: Kind, document: Object) -> Object:
        document = {name: value for name, value in _copied(document).items() if name != "status"}
        return self._merge(kind, document, "main")

    async def apply_status(self, kind: Kind, document: Object) -> Object:
        metadata = document["metadata"]
        self._there(kind, metadata["namespace"], metadata["name"])
        return self._merge(kind, _copied({"metadata": metadata, "status": document["status"]}), "status")

    async def replace(self, kind: Kind, document: Object) -> Object:
        metadata = document["metadata"]
        self._check(self._there(kind, metadata["namespace"], metadata["name"]), metadata["resourceVersion"])
        return self.put(kind, document)

    async def patch(self, kind: Kind, namespace: str, name: str, document: Object) -> Object:
        there = self._there(kind, namespace, name)
        metadata = dict(document.get("metadata") or {})
        self._check(there, metadata.pop("resourceVersion", ""))
        after = _merged(_copied(there), _copied({**document, "metadata": metadata}))
        return self._put(kind, (kind.plural, namespace, name), after)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "") -> None:
        try:
            there = self._there(kind, namespace, name)
        except Missing:
            return
        self._check(there, resource_version, uid)
        if there["metadata"].get("finalizers"):
            if not there["metadata"].get("deletionTimestamp"):
                after = _copied(there)
                after["metadata"]["deletionTimestamp"] = self._moment()
                self._put(kind, (kind.plural, namespace, name), after)
            return
        self._remove(kind, (kind.plural, namespace, name))

    async def evict(self, namespace: str, name: str, uid: str) -> None:
        from penstock_operator.cluster import PODS

        await self.delete(PODS, namespace, name, uid=uid)

    # --- for the world around it

    def put(self, kind: Kind, document: Object) -> Object:
        """Write an object as somebody else would, whole; its metadata is kept if it is there."""
        key = self._key(kind, document)
        there = self.objects.get(key)
        after = _copied(document)
        if there is not None:
            after["metadata"] = {**there["metadata"], **after["metadata"]}
        return self._put(kind, key, after)

    def _there(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self.objects.get((kind.plural, namespace, name))
        if found is None:
            raise Missing(f"no {kind.kind} {namespace}/{name}", 404)
        return found

    def _key(self, kind: Kind, document: Object) -> Key:
        return kind.plural, document["metadata"]["namespace"], document["metadata"]["name"]

    def _check(self, there: Object, resource_version: str, uid: str = "") -> None:
        metadata = there["metadata"]
        if (resource_version and metadata["resourceVersion"] != resource_version) or (uid and metadata["uid"] != uid):
            raise Changed(f"{metadata['name']} has changed", 409)

    def _merge(self, kind: Kind, document: Object, part: str) -> Object:
        key = self._key(kind, document)
        there = self.objects.get(key)
        version = document["metadata"].pop("resourceVersion", "")
        if there is None and version:
            raise Changed(f"{key[2]} is gone", 409)
        if there is not None:
            self._check(there, version)
        before = self._applied.get((key, part), {})
        after = _merged(_without(_copied(there or {}), before, document), _copied(document))
        self._applied[key, part] = document
        return self._put(kind, key, after)

    def _put(self, kind: Kind, key: Key, after: Object) -> Object:
        there = self.objects.get(key)
        metadata = after["metadata"]
        if there is None:
            metadata |= {"uid": f"uid-{next(self._uids)}", "generation": 1, "creationTimestamp": self._moment()}
        elif _content(there) == _content(after):
            return _copied(there)
        elif there.get("spec") != after.get("spec"):
            metadata["generation"] = metadata.get("generation", 1) + 1
        metadata["resourceVersion"] = str(next(self._versions))
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.objects[key] = after
            self._remove(kind, key)
            return after
        self.objects[key] = after
        self._tell(kind, Change("MODIFIED" if there is not None else "ADDED", _copied(after)))
        return _copied(after)

    def _remove(self, kind: Kind, key: Key) -> None:
        gone = self.objects.pop(key)
        self._applied = {which: value for which, value in self._applied.items() if which[0] != key}
        self._tell(kind, Change("DELETED", _copied(gone)))

    def _tell(self, kind: Kind, change: Change) -> None:
        self.history.append((len(self.history), kind, change))
        self._changed.set()

    def _moment(self) -> str:
        self.second += 1
        hours, rest = divmod(self.second, 3600)
        return f"2026-01-01T{hours % 24:02}:{rest // 60:02}:{rest % 60:02}Z"


def _selects(labels: str, has: dict[str, str]) -> bool:
    """Whether a label selector of the forms `a=b` and `a` chooses an object with these labels."""
    for part in filter(None, labels.split(",")):
        name, equals, value = part.partition("=")
        if name not in has or (equals and has[name] != value):
            return False
    return True


def _copied(document: Object) -> Object:
    found: Object = orjson.loads(orjson.dumps(document))
    return found


def _listed(kind: Kind, document: Object) -> Object:
    """As a list has it: of a built-in kind it does not say what it is."""
    unsaid = () if "." in kind.group else ("apiVersion", "kind")
    return {name: value for name, value in _copied(document).items() if name not in unsaid}


def _content(document: Object) -> Object:
    metadata = {name: value for name, value in document["metadata"].items() if name not in ("resourceVersion", "generation")}
    return {**document, "metadata": metadata}


def _merged(there: Any, document: Any) -> Any:
    if not isinstance(there, dict) or not isinstance(document, dict):
        return document
    for name, value in document.items():
        if value is None:
            there.pop(name, None)
        else:
            there[name] = _merged(there.get(name), value)
    return there


def _without(there: Any, before: Any, document: Any) -> Any:
    """`there` without what was applied before and is not any more."""
    if not (isinstance(there, dict) and isinstance(before, dict)):
        return there
    for name, value in before.items():
        if name not in (document or {}):
            if isinstance(value, dict) and isinstance(there.get(name), dict):
                there[name] = _without(there[name], value, {})
                if not there[name]:
                    there.pop(name)
            else:
                there.pop(name, None)
        elif isinstance(value, dict):
            there[name] = _without(there.get(name), value, document[name])
    return there
