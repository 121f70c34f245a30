"""What watches have kept of the API server: objects of a kind that have a label, found by namespace, name and label.

    list --> objects --watch--> changes --> objects      (and anew after 410 Gone, or when the watch breaks off)

Never written to by the operator's own calls: it is what the server said, a little late. Only what a decision reads is kept of an
object, so that a thousand of them are a few megabytes.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Any

from penstock_operator.cluster import MODEL_VERSIONS, PODS, SCALERS, Cluster, ClusterError, Gone, Kind, Missing, Object

log = logging.getLogger(__name__)

Listener = Callable[[Object], None]


class Cache:
    """Objects of `kind` in `namespace` (None: all) that have the label `label` ("" for all), found by the label `index`.
    `listener` is told of each object that was added, changed or deleted."""

    def __init__(
        self, cluster: Cluster, kind: Kind, namespace: str | None, label: str, listener: Listener, *, index: str
    ) -> None:
        self.kind = kind
        self.label = label
        self.index = index
        self.synced = asyncio.Event()
        self.objects: dict[tuple[str, str], Object] = {}
        self._by_label: dict[tuple[str, str], set[str]] = {}
        self._cluster = cluster
        self._namespace = namespace
        self._listener = listener

    def labelled(self, namespace: str | None, value: str) -> list[Object]:
        """Objects whose label `index` has this value, by name."""
        names = self._by_label.get((namespace or "", value), set())
        return [self.objects[namespace or "", name] for name in sorted(names)]

    async def follow(self) -> None:
        """List and watch until cancelled. A server that is away is asked again, at most every few seconds."""
        failures = 0
        while True:
            try:
                objects, version = await self._cluster.list(self.kind, self._namespace, labels=self.label)
                self._replace(objects)
                self.synced.set()
                failures = 0
                await self._watch(version)
            except Gone:
                continue
            except ClusterError as error:
                failures += 1
                log.warning("watch interrupted", extra={"kind": self.kind.kind, "reason": str(error)[:300]})
                await asyncio.sleep(min(5.0, 0.2 * 2 ** min(failures, 6)) * random.uniform(0.7, 1.3))

    async def _watch(self, version: str) -> None:
        """Goes on where the last watch ended, until the server can no longer tell from there."""
        while True:
            began = asyncio.get_running_loop().time()
            async with contextlib.aclosing(self._open(version)) as changes:
                async for change in changes:
                    version = change.object["metadata"]["resourceVersion"]
                    if change.type == "DELETED":
                        self._drop(change.object)
                    elif change.type != "BOOKMARK":
                        self._put(change.object)
            if asyncio.get_running_loop().time() - began < 1.0:
                await asyncio.sleep(1.0)  # a server that ends watches at once is not asked in a loop

    def _open(self, version: str) -> Any:
        return self._cluster.watch(self.kind, self._namespace, version, labels=self.label)

    def _replace(self, objects: list[Object]) -> None:
        names = {_key(one) for one in objects}
        for gone in [one for key, one in self.objects.items() if key not in names]:
            self._drop(gone)
        for one in objects:
            there = self.objects.get(_key(one))
            if there is None or there["metadata"]["resourceVersion"] != one["metadata"]["resourceVersion"]:
                self._put(one)

    def _put(self, document: Object) -> None:
        key = _key(document)
        there = self.objects.get(key)
        self._forget(key)
        kept = self.objects[key] = _trimmed(self.kind, document)
        value = (kept["metadata"].get("labels") or {}).get(self.index)
        if value is not None:
            self._by_label.setdefault((key[0], value), set()).add(key[1])
        if self.kind != SCALERS or not _is_same(there, kept):
            self._listener(kept)

    def _drop(self, document: Object) -> None:
        key = _key(document)
        self._forget(key)
        self.objects.pop(key, None)
        self._listener(document)

    def _forget(self, key: tuple[str, str]) -> None:
        there = self.objects.get(key)
        value = (there["metadata"].get("labels") or {}).get(self.index) if there is not None else None
        if value is not None:
            names = self._by_label.get((key[0], value), set())
            names.discard(key[1])
            if not names:
                self._by_label.pop((key[0], value), None)


class CachedReader:
    """Reads what caches hold, as a look reads the API server."""

    def __init__(self, caches: list[Cache]) -> None:
        self._caches = caches

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        for cache in self._caches:
            if cache.kind == kind and (found := cache.objects.get((namespace, name))) is not None:
                return found
        raise Missing(f"no {kind.kind} {namespace}/{name}", 404)

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[list[Object], str]:
        label, _, value = labels.partition("=")
        for cache in self._caches:
            if cache.kind == kind and cache.index == label:
                return cache.labelled(namespace, value), ""
        return [], ""


def _key(document: Object) -> tuple[str, str]:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _is_same(there: Object | None, kept: Object) -> bool:
    """Whether only what is not kept has changed: an autoscaler tells every 15 s what it measures."""
    return there is not None and _unmarked(there) == _unmarked(kept)


def _unmarked(kept: Object) -> Object:
    return {**kept, "metadata": {**kept["metadata"], "resourceVersion": ""}}


def _trimmed(kind: Kind, document: Object) -> Object:
    """Without what is large and never read."""
    metadata = {name: value for name, value in document["metadata"].items() if name != "managedFields"}
    if kind != MODEL_VERSIONS and "annotations" in metadata:
        kept = {name: value for name, value in metadata["annotations"].items() if not name.startswith("kubectl.")}
        metadata["annotations"] = kept
    if kind == SCALERS:
        return {"metadata": metadata, "spec": document.get("spec")}
    if kind != PODS:
        return {**document, "metadata": metadata}
    status = document.get("status") or {}
    kept_status = {
        name: status[name]
        for name in ("phase", "podIP", "conditions", "containerStatuses", "initContainerStatuses")
        if name in status
    }
    containers = [{"name": one.get("name", "")} for one in (document.get("spec") or {}).get("containers") or []]
    return {"metadata": metadata, "spec": {"containers": containers}, "status": kept_status}
