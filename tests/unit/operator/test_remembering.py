"""What looks at a trial keep between two writes of its status: nothing is lost with the next one, or counted twice without it."""

import asyncio
from typing import Any

import msgspec

from penstock.evidence.document import Entry, Evidence, Latency, Process
from penstock_operator.apply import carry_out
from penstock_operator.cluster import MODEL_VERSIONS
from penstock_operator.desired import decide
from penstock_operator.inference_service import read_service
from penstock_operator.judgement import LOOK_S, TELL_S
from penstock_operator.ledger_text import read_ledger
from penstock_operator.looking import Silence, look
from penstock_operator.model_version import ROLLBACK
from penstock_operator.plan import Operation, Plan, Verb
from penstock_operator.remembering import Remembered, Sorted
from penstock_operator.seen import Seen
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
RATE = 10


class Trial:
    """A version on trial at its first step. The transformer counts `RATE` requests/s of it; nothing is ever decided."""

    def __init__(self) -> None:
        self.world = World()
        self.remembered = Remembered()
        self.counted = 0
        for name, digest, rollout in (
            ("flights-1", OLD, {"strategy": "immediate"}),
            ("flights-2", NEW, {"strategy": "evidence"}),
        ):
            self.world.add_version(name, digest, rollout=rollout)
            asyncio.run(self.world.settle())

    def wait(self, seconds: float) -> None:
        """So many seconds of requests to both versions."""
        self.world.now += seconds
        self.counted += round(seconds * RATE)
        entries = [self._entry(digest, count) for digest, count in ((OLD, 19 * self.counted), (NEW, self.counted))]
        self.world.told = [Evidence(MODEL, [Process("one", 3600.0, entries)])]

    def _entry(self, digest: str, count: int) -> Entry:
        latency = Latency([(40, count)], [(40, count)])
        # Both fail alike, and often: nothing is decided.
        failed = {"internal": count // 3}
        revision = self.world.route_revision()
        return Entry(digest, revision, requests=count, rows=count, keys=count, failed_keys=failed, latency=latency)

    def look(self) -> Sorted:
        """A look, as a controller makes it; what is to be written is."""
        seen, plan = asyncio.run(self._decided())
        found = self.remembered.sorted_out(plan, seen)
        self.remembered.expect(found.words, seen)
        asyncio.run(carry_out(Plan((*found.changes, *found.words), 0.0), self.world.cluster))
        if not found.changes:
            self.remembered.written(found.words, seen)
        return found

    async def _decided(self) -> tuple[Seen, Plan]:
        names, world = ["flights-1", "flights-2"], self.world
        seen = await look(world.cluster, world, Silence(), NAMESPACE, MODEL, names, world.now, remembered=self.remembered)
        return seen, decide(seen, world.policy)

    @property
    def document(self) -> dict[str, Any]:
        return self.world.cluster.objects[MODEL_VERSIONS.plural, NAMESPACE, "flights-2"]

    def learnt(self) -> int:
        """Requests of the version on trial that a look would go on from."""
        version = self.remembered.read(self.document)
        assert version is not None
        return requests_of(version.status.evidence)

    def written(self) -> int:
        """Those that its status remembers."""
        return requests_of(self.document["status"]["evidence"])


def requests_of(evidence: dict[str, Any]) -> int:
    return sum(entry.requests for entry in read_ledger(evidence["ledger"]).entries(NEW))


def begun() -> Trial:
    """A trial whose first words are written."""
    trial = Trial()
    trial.wait(TELL_S)
    assert trial.look().words
    assert trial.written() == trial.learnt() == trial.counted
    return trial


def test_looks_between_two_words_write_nothing_and_lose_nothing() -> None:
    trial = begun()
    before = trial.written()
    for _ in range(int(TELL_S / LOOK_S) - 1):
        trial.wait(LOOK_S)
        assert trial.look() == Sorted((), ())
        assert (trial.written(), trial.learnt()) == (before, trial.counted)
    trial.wait(LOOK_S)
    found = trial.look()
    assert (len(found.changes), len(found.words)) == (0, 1)
    assert trial.written() == trial.learnt() == trial.counted


def test_another_operator_counts_what_the_first_had_not_written_once() -> None:
    trial = begun()
    for _ in range(2):
        trial.wait(LOOK_S)
        trial.look()
    assert trial.written() < trial.learnt()
    trial.remembered = Remembered()
    assert trial.learnt() == trial.written()
    trial.wait(TELL_S)
    trial.look()
    assert trial.written() == trial.counted


def test_a_pod_that_dies_after_it_was_read_is_not_lost_with_the_next_words() -> None:
    trial = begun()
    trial.wait(LOOK_S)
    trial.look()
    read = trial.counted
    trial.world.told = []
    trial.world.now += TELL_S
    trial.look()
    assert trial.written() == read


def test_a_status_that_somebody_else_wrote_is_believed() -> None:
    trial = begun()
    stored = trial.document
    trial.wait(LOOK_S)
    trial.look()
    assert trial.learnt() > trial.written()
    evidence = {**stored["status"]["evidence"], "looked": trial.world.now + 1}
    trial.world.cluster.put(MODEL_VERSIONS, {**stored, "status": {**stored["status"], "evidence": evidence}})
    assert trial.learnt() == trial.written()


def test_an_annotation_changes_nothing_of_what_is_kept() -> None:
    trial = begun()
    trial.wait(LOOK_S)
    trial.look()
    kept = trial.learnt()
    trial.world.annotate("flights-2", note="somebody was here")
    assert trial.learnt() == kept > trial.written()


def test_a_change_of_stage_is_no_words() -> None:
    trial = begun()
    trial.world.annotate("flights-2", promote="50")
    trial.wait(LOOK_S)
    found = trial.look()
    assert found.changes
    assert not found.words


def test_other_words_than_those_of_evidence_are_written_at_once() -> None:
    """No look of a version that is not on trial any more would ever write them."""
    trial = begun()
    seen, _ = asyncio.run(trial._decided())
    version = next(one for one in seen.versions if one.name == "flights-2")
    conditions = tuple(msgspec.structs.replace(one, message="something else") for one in version.status.conditions)
    told = msgspec.structs.replace(version.status, conditions=conditions)
    write = Operation(Verb.STATUS, MODEL_VERSIONS, NAMESPACE, version.name, status=told)
    assert trial.remembered.sorted_out(Plan((write,), 0.0), seen) == Sorted((write,), ())


def test_versions_that_cannot_be_read_and_those_that_are_gone() -> None:
    trial = begun()
    broken = {**trial.document, "spec": {}, "metadata": {**trial.document["metadata"], "resourceVersion": "99999"}}
    assert trial.remembered.read(broken) is None
    trial.wait(LOOK_S)
    trial.look()
    trial.remembered.forget(trial.document["metadata"]["uid"])
    assert trial.learnt() == trial.written()


def test_an_inference_service_is_read_once_as_long_as_it_and_its_pods_are_the_same() -> None:
    remembered, metadata = Remembered(), {"name": "flights-2", "uid": "u", "resourceVersion": "1"}
    document: dict[str, Any] = {"metadata": metadata}
    ready = {"metadata": metadata | {"resourceVersion": "2"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    first = remembered.service(document)
    assert first == read_service(document)
    assert remembered.service(document) is first
    assert remembered.service(document, ("pod.0",)) == read_service(document, ("pod.0",))
    assert remembered.service(ready, ("pod.0",)).ready
    assert remembered.service(ready, ("pod.1",)).starts == ("pod.1",)
    # One of another namespace, or that is made anew under the name.
    assert remembered.service({"metadata": metadata | {"uid": "v"}}).uid == "v"
    kept = remembered.service(document)
    remembered.forget("u")
    assert remembered.service(document) is not kept


def test_what_a_watch_tells_of_own_words_is_no_reason_to_look_once() -> None:
    trial = begun()
    assert trial.remembered.is_echo(trial.document)
    assert not trial.remembered.is_echo(trial.document)


def test_words_that_a_user_has_changed_something_beside_are_a_reason_to_look() -> None:
    trial = begun()
    changed = trial.document | {"metadata": trial.document["metadata"] | {"annotations": {ROLLBACK: "no"}}}
    assert not trial.remembered.is_echo(changed)
    assert not trial.remembered.is_echo(changed | {"metadata": {"uid": "another"}})
    assert not trial.remembered.is_echo(trial.document | {"metadata": trial.document["metadata"] | {"finalizers": []}})
    assert trial.remembered.is_echo(trial.document)
    trial.remembered.forget(trial.document["metadata"]["uid"])
    trial.wait(TELL_S)
    assert trial.look().words
    later = trial.document | {"metadata": trial.document["metadata"] | {"deletionTimestamp": "2026-01-02T03:04:05Z"}}
    assert not trial.remembered.is_echo(later)
