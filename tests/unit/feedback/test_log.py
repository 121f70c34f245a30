"""The log of a process: what is written, what is dropped, and that nothing of it reaches a request."""

import asyncio
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from penstock.dataplane import Context
from penstock.errors import UpstreamUnavailable
from penstock_transformer.feedback.document import read_request
from penstock_transformer.feedback.log import Entry, PredictionLog
from penstock_transformer.feedback.sampling import Sampler

BUNDLE: Any = SimpleNamespace(
    plan=None,
    digest="sha256:1",
    label="n@sha256:1",
    version="1",
    manifest=SimpleNamespace(name="n", card={"costs": {"over": 2, "under": 1}}),
    postprocessor=SimpleNamespace(apply=lambda outputs: [{"value": value} for value in outputs["y"].tolist()]),
)

SUMS: Any = SimpleNamespace(revision=42)


class Sink:
    """Keeps what is written; `gate` closed holds the thread up, `fault` is raised."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.tick_fault: Exception | None = None
        self.ticked = threading.Event()
        self.closed = False

    def write(self, entries: Sequence[Entry]) -> None:
        assert self.gate.wait(30)
        if self.fault is not None:
            raise self.fault
        self.entries += entries

    def tick(self) -> None:
        self.ticked.set()
        if self.tick_fault is not None:
            raise self.tick_fault

    def close(self) -> None:
        self.closed = True


def work(number: int, *, rows: Any = None, shadow: bool = False, **more: Any) -> Any:
    rows = [{"x": 1.0}] if rows is None else rows
    given = {"version": None, "record_id": None, "route_key": "k", "sticky": None, **more}
    request = SimpleNamespace(model="m", rows=rows, columns=None, version=given.pop("version"), record_id=given.pop("record_id"))
    context = Context(f"r{number}-shadow" if shadow else f"r{number}", route_key=given.pop("route_key"))
    given = {"retried": False, "bundle": BUNDLE if shadow else None, **given}
    return SimpleNamespace(request=request, context=context, rows=len(rows), nbytes=2048, copied=shadow, **given)


def run(
    sink: Sink,
    works: list[Any],
    *,
    queue_bytes: int = 2**20,
    record_bytes: int = 2**18,
    begun: bool = True,
    sampler: Sampler | None = None,
) -> PredictionLog:
    log = PredictionLog(sampler or Sampler(1.0), sink, queue_bytes=queue_bytes, record_bytes=record_bytes)

    async def go() -> None:
        if begun:
            await log.start()
        for one in works:
            outputs = {"y": np.arange(float(one.rows))}
            log.answered_plain(BUNDLE, one, outputs, [] if one.copied else BUNDLE.postprocessor.apply(outputs), SUMS)
        if not begun:
            await log.start()
        sink.gate.set()
        await log.close()

    asyncio.run(go())
    return log


def test_what_was_answered_is_written_and_the_end_waits_for_it() -> None:
    sink = Sink()
    log = run(sink, [work(1), work(2, rows=[{"x": 1.5}, {"x": float("inf")}]), work(3, shadow=True)])
    assert sink.closed
    logged = [read_request(entry.document) for entry in sink.entries]
    assert [(one.id, one.route_key, one.shadow, one.chance, one.bundle) for one in logged] == [
        ("r1", "k", False, 1.0, "sha256:1"),
        ("r2", "k", False, 1.0, "sha256:1"),
        ("r3", "k", True, 1.0, "sha256:1"),
    ]
    assert [(row.row, row.answer) for row in logged[1].rows] == [
        ({"x": 1.5}, {"value": 0.0}),
        ({"x": "Infinity"}, {"value": 1.0}),
    ]
    assert log.counts == {"written": 3}


def test_the_route_that_chose_the_bundle_is_logged_and_what_it_was_chosen_by() -> None:
    works = [
        work(1),
        work(2, version="1"),
        work(3, route_key=None, sticky=b"N101\xff"),
        work(4, route_key=None, record_id="7"),
        work(5, route_key=None),
    ]
    run(sink := Sink(), works)
    logged = [read_request(entry.document) for entry in sink.entries]
    # One that names its version was assigned by nothing.
    assert [one.revision for one in logged] == [42, None, 42, 42, 42]
    assert [one.route_key for one in logged] == ["k", "k", "N101\\xff", "7", None]
    assert {tuple(one.costs.items()) for one in logged if one.costs is not None} == {(("over", 2.0), ("under", 1.0))}


def test_a_second_try_is_what_the_first_was() -> None:
    """The predictor held another bundle: a copy that goes there is a copy still, a request one that was answered."""
    run(sink := Sink(), [work(1, shadow=True, retried=True), work(2, retried=True, bundle=BUNDLE)])
    logged = [read_request(entry.document) for entry in sink.entries]
    assert [(one.id, one.shadow) for one in logged] == [("r1", True), ("r2", False)]


def test_rare_answers_of_a_bundle_without_features_are_drawn_by_rarity() -> None:
    # Values are 0 to rows - 1: a request of one row answers 0.
    common, rare = [work(number) for number in range(50)], work(50, rows=[{"x": 1.0}, {"x": 2.0}])
    sampler = Sampler(0.5, 1.0, draw=lambda: 0.75)
    run(sink := Sink(), [*common, rare, work(51, shadow=True)], sampler=sampler)
    (logged,) = [read_request(entry.document) for entry in sink.entries]
    assert (logged.id, logged.chance) == ("r50", 1.0)


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    sink = Sink()
    sink.gate.clear()
    log = run(sink, [work(number) for number in range(10)], queue_bytes=3 * 2500, begun=False)
    assert (log.counts["written"], log.counts["dropped"]) == (3, 7)
    samples = {s.labels.get("result"): s.value for family in log.families() for s in family.samples if s.labels}
    assert (samples["written"], samples["dropped"], samples["failed"]) == (3, 7, 0)
    assert log._held == 0


def test_a_large_one_is_left_out() -> None:
    log = run(sink := Sink(), [work(1, rows=[{"x": "y" * 4000}]), work(2)], record_bytes=2000)
    assert (log.counts["too_large"], [entry.id for entry in sink.entries]) == (1, ["r2"])


def test_a_sink_that_is_away_costs_log_entries_and_nothing_else() -> None:
    for fault in (UpstreamUnavailable("away"), OSError(28, "full"), RuntimeError("ours")):
        sink = Sink()
        sink.fault = fault
        log = run(sink, [work(1)])
        assert log.counts["written"] == 0
        assert log.counts["failed"] == 1


def test_what_cannot_be_logged_is_counted_and_raises_nothing() -> None:
    broken = work(1)
    broken.context = None
    log = run(sink := Sink(), [broken, work(2)])
    assert (log.counts["failed"], [entry.id for entry in sink.entries]) == (1, ["r2"])


def test_every_request_is_counted_of_a_batch_that_cannot_be_documented() -> None:
    """Of one batch the second of three requests; of the next none."""
    works = [work(number) for number in range(4)]
    works[1].request.rows = [object()]
    bundle = SimpleNamespace(**{**vars(BUNDLE), "zero_shot": None, "plan": None})
    plan = SimpleNamespace(spec=SimpleNamespace(features=[]))
    log = PredictionLog(Sampler(1.0), sink := Sink(), queue_bytes=2**20, record_bytes=2**18)
    for some in (works[:3], works[3:]):
        log.answered(_group(bundle, plan, some, [{"value": 1.0}] * len(some)), {})

    async def go() -> None:
        await log.start()
        await log.close()

    asyncio.run(go())
    assert [entry.id for entry in sink.entries] == ["r0", "r3"]
    assert log.counts == {"written": 2, "failed": 2}


@pytest.mark.parametrize("fault", [UpstreamUnavailable("away"), OSError(28, "full"), RuntimeError("ours")])
def test_every_request_is_counted_that_a_sink_does_not_take(fault: Exception) -> None:
    sink = Sink()
    sink.fault = fault
    log = run(sink, [work(number) for number in range(5)], begun=False)
    assert log.counts == {"failed": 5}


@pytest.mark.parametrize("fault", [UpstreamUnavailable("away"), RuntimeError("ours")])
def test_upkeep_that_fails_is_said_and_counts_no_request(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    sink.tick_fault = fault
    log = PredictionLog(Sampler(1.0), sink, queue_bytes=2**20, record_bytes=2**18)

    async def go() -> None:
        await log.start()
        assert await asyncio.to_thread(sink.ticked.wait, 30)
        await log.close()

    log.answered_plain(BUNDLE, work(1), {"y": np.zeros(1)}, [{"value": 0.0}])
    asyncio.run(go())
    assert log.counts == {"written": 1, "failed": 0}
    assert {(record.levelname, record.reason) for record in caplog.records} == {("WARNING", str(fault))}


def test_after_a_sink_was_away_an_unexpected_error_is_still_told_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    sink.fault = OSError(28, "full")
    log = run(sink, [work(1)])
    for number in (2, 3):
        broken = work(number)
        broken.context = None
        log.answered_plain(BUNDLE, broken, {"y": np.zeros(1)}, [{"value": 0.0}])
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert log.counts["failed"] == 3


def test_what_could_not_be_taken_of_a_batch_is_counted_whole() -> None:
    works = [work(number) for number in range(3)]
    works[0].nbytes = None
    plan = SimpleNamespace(spec=SimpleNamespace(features=[]))
    bundle = SimpleNamespace(**{**vars(BUNDLE), "zero_shot": None})
    log = PredictionLog(Sampler(1.0), Sink(), queue_bytes=2**20, record_bytes=2**18)
    log.answered(_group(bundle, plan, works, []), {})
    assert log.counts == {"failed": 3}


def _listed(array: Any) -> list[dict[str, Any]]:
    return [{"outputs": {"y": row}} for row in array.tolist()]


def _scored(array: Any) -> list[dict[str, Any]]:
    labels = [str(at) for at in range(array.shape[1])]
    return [{"label": labels[0], "scores": dict(zip(labels, row, strict=True))} for row in array.tolist()]


def _valued(array: Any) -> list[dict[str, Any]]:
    return [{"value": value} for value in array[:, 0].tolist()]


def _none(array: Any) -> list[dict[str, Any]]:
    return []


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("predicted", [_listed, _scored, _valued, _none])
def test_answers_that_wait_count_as_what_they_hold(predicted: Callable[[Any], list[dict[str, Any]]], gathered: bool) -> None:
    rows, width = 64, 600
    outputs = {"y": np.random.default_rng(1).random((rows, width), np.float32)}
    tracemalloc.start()
    predictions = predicted(outputs["y"])
    held = outputs["y"].nbytes + tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    log = PredictionLog(Sampler(1.0), Sink(), queue_bytes=2**30, record_bytes=2**18)
    one = work(1, rows=[{"x": 1.0}] * rows)
    one.nbytes = 0
    if gathered:
        plan = SimpleNamespace(spec=SimpleNamespace(features=[]))
        bundle = SimpleNamespace(**{**vars(BUNDLE), "zero_shot": None})
        log.answered(_group(bundle, plan, [one], predictions), outputs)
    else:
        log.answered_plain(BUNDLE, one, outputs, predictions)
    (counted,) = [s.value for family in log.families() for s in family.samples if s.name == "penstock_log_held_bytes"]
    assert log.counts == {}
    assert counted == pytest.approx(held, rel=0.25)


def _group(bundle: Any, plan: Any, works: list[Any], predictions: list[dict[str, Any]]) -> Any:
    bounds = [0, *accumulate(one.rows for one in works)]
    return SimpleNamespace(
        bundle=bundle, plan=plan, works=works, parts=[one.request.rows for one in works], bounds=bounds, rows=bounds[-1],
        predictions=predictions, gathered=None, sums=None, now_s=1.0, degraded=False,
    )  # fmt: skip
