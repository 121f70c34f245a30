"""What a look need not work out again: objects that are read already, and what trials have learnt since it was written.

    ModelVersion of the API --read--> version, with the evidence of the looks since its status was written --> decide
    plan --sorted_out--> calls that change something | words and evidence, to be written as they are | evidence, kept here

A version on trial is looked at every few seconds, and most looks only add to what its status remembers. Writing each would cost
more than the look. So what a look adds is kept here, and written with the next words about it, or with the next step: at the
first look that is half a minute after the last words, which is less than a minute after them. An operator that dies leaves a
status that was true then: its ledger knows what of every pod is in it, so the next operator counts what came since, once. Lost is
only what was read meanwhile of a pod that has died, too.

Invariant: what is kept here follows from the status as it was read; one that somebody has written since is believed instead.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from penstock_operator.cluster import Object
from penstock_operator.inference_service import read_service
from penstock_operator.model_version import ModelVersion, Status, read_model_version
from penstock_operator.plan import Operation, Plan
from penstock_operator.seen import InferenceService, Seen

_MOST = 4096


def readable(document: Object) -> ModelVersion | None:
    """A ModelVersion, or None for one that the schema of this release would refuse: it is left alone."""
    try:
        return read_model_version(document)
    except (msgspec.ValidationError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class Sorted:
    """A plan's calls: those that change something, and those that only tell what a trial has come to."""

    changes: tuple[Operation, ...]
    words: tuple[Operation, ...]


class _Echo(NamedTuple):
    """What tells one state of a ModelVersion from every other that would be decided on otherwise: the moment of its last look,
    and what others change."""

    looked: float | None
    generation: int
    deleted: str
    finalizers: tuple[str, ...]
    annotations: dict[str, str]


class Remembered:
    """Of one operator, for as long as it holds the lease."""

    def __init__(self) -> None:
        # By uid: the resourceVersion that was read, and what it says.
        self._read: dict[str, tuple[str, ModelVersion | None]] = {}
        # By uid, as they were last read.
        self._services: dict[str, InferenceService] = {}
        # By uid: the evidence that was read in the status, and what it has become.
        self._since: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        # By uid: what a watch will tell of words that are being written.
        self._echoes: dict[str, _Echo] = {}

    def read(self, document: Object) -> ModelVersion | None:
        """The version as looks are to see it; None for one that cannot be read."""
        metadata = document["metadata"]
        uid, changed = metadata.get("uid", ""), metadata.get("resourceVersion", "")
        there = self._read.get(uid)
        if there is None or there[0] != changed:
            there = self._read[uid] = changed, readable(document)
            if len(self._read) > _MOST:
                del self._read[next(iter(self._read))]
        version = there[1]
        since = self._since.get(uid)
        if version is None or since is None:
            return version
        if since[0] != version.status.evidence:
            del self._since[uid]
            return version
        return msgspec.structs.replace(version, status=msgspec.structs.replace(version.status, evidence=since[1]))

    def service(self, document: Object, starts: tuple[str, ...] = ()) -> InferenceService:
        """What an InferenceService says, with its pods' `starts`. A cache's document is the same one until a watch tells more."""
        uid = document["metadata"].get("uid", "")
        there = self._services.get(uid)
        if there is None or there.document is not document or there.starts != starts:
            there = self._services[uid] = read_service(document, starts)
            if len(self._services) > _MOST:
                del self._services[next(iter(self._services))]
        return there

    def sorted_out(self, plan: Plan, seen: Seen) -> Sorted:
        """The plan's calls without those that would only write evidence of which there are no new words: that is kept here."""
        versions = {version.name: version for version in seen.versions}
        changes: list[Operation] = []
        words: list[Operation] = []
        for operation in plan.operations:
            version, status = versions.get(operation.name), operation.status
            if version is None or status is None or not _is_told_only(version, status):
                changes.append(operation)
            elif status.evidence.get("told") == version.status.evidence.get("told"):
                self._keep(version, status.evidence)
            else:
                words.append(operation)
        return Sorted(tuple(changes), tuple(words))

    def expect(self, words: Iterable[Operation], seen: Seen) -> None:
        """These statuses are about to be written."""
        versions = {version.name: version for version in seen.versions}
        for operation in words:
            version = versions[operation.name]
            looked = _evidence(operation).get("looked")
            self._echoes[version.uid] = _Echo(
                looked, version.generation, version.deleted, version.finalizers, version.annotations
            )

    def is_echo(self, document: Object) -> bool:
        """Whether a watch tells of words that were written here, and of nothing else: there is nothing to look at. Once each."""
        metadata = document["metadata"]
        looked = ((document.get("status") or {}).get("evidence") or {}).get("looked")
        told = _Echo(
            looked,
            metadata.get("generation", 0),
            metadata.get("deletionTimestamp") or "",
            tuple(metadata.get("finalizers") or ()),
            metadata.get("annotations") or {},
        )
        if looked is None or self._echoes.get(metadata.get("uid", "")) != told:
            return False
        del self._echoes[metadata["uid"]]
        return True

    def written(self, words: Iterable[Operation], seen: Seen) -> None:
        """These statuses were written: what is still read of them until the watch tells is older."""
        versions = {version.name: version for version in seen.versions}
        for operation in words:
            self._keep(versions[operation.name], _evidence(operation))

    def forget(self, uid: str) -> None:
        """Drop what is kept of a version that is gone, or of an InferenceService that is another now."""
        self._read.pop(uid, None)
        self._services.pop(uid, None)
        self._since.pop(uid, None)
        self._echoes.pop(uid, None)

    def clear(self) -> None:
        """Drop all evidence: another operator may have learnt more meanwhile."""
        self._since.clear()
        self._echoes.clear()

    def _keep(self, version: ModelVersion, evidence: dict[str, Any]) -> None:
        before = self._since.get(version.uid)
        self._since[version.uid] = (before[0] if before is not None else version.status.evidence, evidence)


def _evidence(words: Operation) -> dict[str, Any]:
    return words.status.evidence if words.status is not None else {}


def _is_told_only(version: ModelVersion, after: Status) -> bool:
    """Whether a status differs from what it is in evidence and its words at most. Other words would not be written by the next
    look that has some."""
    before = version.status
    if not after.evidence or not before.evidence or after.evidence == before.evidence:
        return False
    return _unworded(after) == _unworded(before)


def _unworded(status: Status) -> Status:
    conditions = tuple(msgspec.structs.replace(one, message="") for one in status.conditions)
    return msgspec.structs.replace(status, message="", conditions=conditions, evidence={})
