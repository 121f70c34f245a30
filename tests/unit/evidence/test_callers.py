"""Callers who are not alike: what transformers count and the operator makes of it, of two versions that are equally good.

requests --Sums--> entries --stage_evidence--> analyse
"""

from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from msgspec import structs

from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.dataplane import TensorMetadata
from penstock.evidence.document import Bins, Entry, Histogram, Latency, Paired
from penstock.postprocess import Postprocessor
from penstock.tensors import Array
from penstock_operator.analysis import Analysis, Move, Trial, analyse
from penstock_operator.analysis.merged import stage_evidence
from penstock_operator.model_version import Rollout, Shadow
from penstock_transformer.evidence.backlog import Backlog
from penstock_transformer.evidence.histograms import Counter
from penstock_transformer.evidence.keys import KeyWindow
from penstock_transformer.evidence.pairs import Pair
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.work import PredictWork

OLD, NEW = "sha256:old", "sha256:new"
SCORES = Bins(edges=tuple(place / 10 for place in range(11)))
LABELS = Bins(values=("late", "on time"))
SPEC = PostprocessSpec("classification", "y", labels=("on time", "late"))
SIGNATURE = ModelSignature("model.onnx", (), (TensorMetadata("y", "FP32", (-1, 2)),), True)
LOOK_S = 20
TRIAL = Trial(rollout=Rollout(steps=(50, 100)), place=0, candidate="flights-8", baseline="flights-7")
AT_FIVE = replace(TRIAL, rollout=Rollout(steps=(5, 100)))
SHADOWED = replace(TRIAL, rollout=Rollout(steps=(50, 100), shadow=Shadow(1.0, 10)))


class Read(Backlog):
    """One that needs no loop, for it is read often enough."""

    def _arm(self) -> None:
        return


class Process:
    """A transformer that counts what two bundles answer, or one and its shadow. Keys stick to one of the two."""

    def __init__(self, *, shadow: bool = False) -> None:
        self.backlog, self.window = Read(), KeyWindow()
        self.sums = {OLD: self._sums(OLD, shadow=False), NEW: self._sums(NEW, shadow=shadow)}

    def _sums(self, digest: str, *, shadow: bool) -> Sums:
        post = Postprocessor(SPEC, Manifest("flights", "1", SIGNATURE, SPEC, {}))
        outputs = {"label": Counter(LABELS, None), "scores.late": Counter(SCORES, None)}
        more: dict[str, Any] = {"outputs": outputs, "features": {}, "spreads": {}, "sticks": not shadow}
        return Sums((digest, 1, shadow, ""), "1", post, self.backlog, self.window, **more)

    def answer(
        self,
        digest: str,
        key: str,
        now_s: float,
        took_s: float,
        late: float,
        *,
        kind: str | None = None,
        pair: Pair | None = None,
    ) -> None:
        work = SimpleNamespace(
            counted=False,
            waiting=False,
            rows=1,
            sticky=key,
            failure=kind,
            pairs=None if pair is None else [pair],
            window=None,
        )
        outputs = {"y": np.array([[1 - late, late]], np.float32)}
        self.sums[digest].answered([cast(PredictWork, work)], [0, 1], (now_s, took_s, took_s), outputs, None)

    def entries(self) -> list[Entry]:
        self.backlog.flush()
        return [sums.told() for sums in self.sums.values()]


class Looks:
    """An operator that looks at processes. `untold`: of the release before, which is told nothing of who the callers are."""

    def __init__(self, trial: Trial, *processes: Process, untold: bool = False) -> None:
        self._processes, self._trial, self._untold = processes, trial, untold
        self._remembered: dict[str, Any] = {}

    def look(self, *, tell_all: bool = False) -> Analysis:
        shadow = self._trial.stage.shadow
        entries = [entry for process in self._processes for entry in process.entries()]
        if self._untold:
            entries = [structs.replace(entry, callers=None) for entry in entries]
        evidence = stage_evidence(entries, candidate=NEW, baseline=OLD, revisions={1}, shadow=shadow)
        found = analyse(self._trial, evidence, self._remembered, tell_all=tell_all)
        self._remembered = found.document
        return found


def quiet(random: Random) -> tuple[float, float]:
    """How long a usual request takes, and its score."""
    return random.lognormvariate(-4.0, 0.5), random.betavariate(2.0, 3.0)


def with_a_loud_caller(seed: int, loud_at: str, *, takes: float = 1.0, own: bool = False, slower: float = 1.0) -> list[Analysis]:
    """60 requests a second, of which one caller makes nine tenths, whose own `takes` longer, or gets answers of their `own`; the
    others have a key each. The new version is `slower`, or as good as the other."""
    random, process, found = Random(seed), Process(), []
    looks = Looks(TRIAL, process)
    for second in range(180):
        for number in range(60):
            took_s, late = quiet(random)
            loud = random.random() < 0.9
            digest = loud_at if loud else random.choice((OLD, NEW))
            took_s *= (takes if loud else 1.0) * (slower if digest == NEW else 1.0)
            key = "loud" if loud else f"{second}/{number}"
            process.answer(digest, key, float(second), took_s, 0.97 if loud and own else late)
        if second % LOOK_S == LOOK_S - 1:
            found.append(looks.look())
    return found


@pytest.mark.parametrize(("takes", "own"), [(2.0, False), (1.0, True)])
@pytest.mark.parametrize("loud_at", [OLD, NEW])
def test_one_caller_with_nine_tenths_of_the_requests_is_no_harm(loud_at: str, takes: float, own: bool) -> None:
    for seed in range(4):
        for found in with_a_loud_caller(seed, loud_at, takes=takes, own=own):
            assert found.move is not Move.ROLL_BACK, found.sentence


def test_beside_a_loud_caller_a_slow_version_is_found() -> None:
    assert with_a_loud_caller(1, OLD, takes=0.5, slower=2.0)[-1].move is Move.ROLL_BACK


def by_minute(
    seed: int, callers: int, *, own: float, spread: float = 0.0, moved: float = 0.0, untold: bool = False
) -> list[Analysis]:
    """Twenty minutes at 5 %, in which each caller comes once a minute: of his answers the part `own` is one score, his own, and
    he is more or less slow than others by e^spread. The new version moves so many scores to the upper end."""
    random, process, found = Random(seed), Process(), []
    looks = Looks(AT_FIVE, process, untold=untold)
    mine = {f"caller {number}": (random.lognormvariate(0.0, spread), quiet(random)[1]) for number in range(callers)}
    at_new = set(random.sample(sorted(mine), callers // 20))
    for minute in range(20):
        for key, (slower, score) in mine.items():
            took_s, late = quiet(random)
            late = score if random.random() < own else late
            if key in at_new and random.random() < moved:
                late = 0.97
            process.answer(NEW if key in at_new else OLD, key, 60.0 * minute, took_s * slower, late)
        found.append(looks.look(tell_all=minute == 19))
    return found


def taken_back(runs: list[list[Analysis]]) -> int:
    return sum(any(found.move is Move.ROLL_BACK for found in run) for run in runs)


def test_a_few_callers_with_answers_of_their_own_are_no_harm() -> None:
    # Such runs as have equal versions told apart if each minute's answers count as another caller's; one in four has.
    seeds = (17, 24, 25, 30, 32, 35)
    assert taken_back([by_minute(seed, 100, own=1.0, spread=0.5, untold=True) for seed in seeds]) == len(seeds)
    runs = [by_minute(seed, 100, own=1.0, spread=0.5) for seed in (*seeds, 1, 2)]
    assert taken_back(runs) == 0
    said = [run[-1].sentence for run in runs]
    assert all("all of it comes from 5 route keys" in one and "too few callers" in one for one in said), said


def test_callers_who_get_other_answers_each_time_say_as_much_as_ever() -> None:
    for seed in range(3):
        told, untold = (by_minute(seed, 600, own=0.0, moved=0.6, untold=untold) for untold in (False, True))
        assert taken_back([told]) == taken_back([untold]) == 1
        minutes = [[found.move for found in run].index(Move.ROLL_BACK) for run in (told, untold)]
        assert minutes[0] <= minutes[1] + 2


@pytest.mark.parametrize(("untold", "harm"), [(False, False), (True, True)])
def test_a_caller_who_always_fails_is_harm_once_however_many_transformers_find_it(untold: bool, harm: bool) -> None:
    processes = [Process() for _ in range(6)]
    looks, found = Looks(AT_FIVE, *processes, untold=untold), []
    for minute in range(3):
        for process in processes:
            for number in range(100):
                key, digest = f"caller {number}", NEW if number < 5 else OLD
                process.answer(digest, key, 60.0 * minute, 0.02, 0.5, kind=None if number else "internal")
        found.append(looks.look())
    assert (taken_back([found]) == 1) is harm


def with_a_loud_copied_caller(seed: int, *, disagrees: float, fails: float) -> list[Analysis]:
    """The same callers, all copied to a shadow. The shadow gives the loud one another label, and fails him, so often."""
    random, process, found = Random(seed), Process(shadow=True), []
    looks = Looks(SHADOWED, process)
    for second in range(180):
        for number in range(60):
            took_s, late = quiet(random)
            loud = random.random() < 0.9
            key = "loud" if loud else f"{second}/{number}"
            into = process.sums[NEW].paired
            assert into is not None
            pair = Pair(into)
            swapped = loud and random.random() < disagrees
            kind = "internal" if loud and random.random() < fails else None
            process.answer(OLD, key, float(second), took_s, late, pair=pair)
            took_s *= 2.0 if loud else random.lognormvariate(0.0, 0.2)
            process.answer(NEW, key, float(second), took_s, 1 - late if swapped else late, kind=kind, pair=pair)
        if second % LOOK_S == LOOK_S - 1:
            found.append(looks.look())
    return found


@pytest.mark.parametrize(("disagrees", "fails"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.1)])
def test_a_copied_caller_with_nine_tenths_of_the_requests_is_one_a_minute(disagrees: float, fails: float) -> None:
    for seed in range(4):
        for found in with_a_loud_copied_caller(seed, disagrees=disagrees, fails=fails):
            assert found.move is not Move.ROLL_BACK, found.sentence


def test_pairs_by_key_are_told_beside_those_by_request() -> None:
    process = Process(shadow=True)
    into = process.sums[NEW].paired
    assert into is not None
    for key, late, other, kind in (
        ("loud", 0.9, 0.1, None),
        ("loud", 0.9, 0.9, None),
        ("loud", 0.9, 0.9, "internal"),
        ("loud", 0.9, 0.9, "internal"),
        ("anna", 0.9, 0.9, None),
    ):
        pair = Pair(into)
        process.answer(OLD, key, 1.0, 0.01, late, pair=pair)
        process.answer(NEW, key, 1.0, 0.02, other, kind=kind, pair=pair)
    told = process.entries()[1].paired
    assert told is not None
    assert told.keys is not None
    assert (told.requests, told.agreeing, told.differing, told.only_shadow_failed) == (5, 2, 1, 2)
    # The first one of `loud` tells of labels and latency; one that fails later, that it failed.
    by_key = told.keys
    assert (by_key.requests, by_key.agreeing, by_key.differing, by_key.only_shadow_failed, by_key.slower) == (2, 1, 1, 1, 2)


def entry_of(digest: str, *, by_key: bool, scale: int = 1) -> Entry:
    """Forty requests of ten keys in ten batches, as a transformer of this release tells them, or one of the release before."""
    counts = [30 * scale, 10 * scale, 0, 0]
    return Entry(
        digest,
        1,
        requests=40 * scale,
        keys=10 * scale,
        latency=Latency(
            [(40, 20 * scale)],
            [(50, 40 * scale)],
            [(50, 4 * scale), (51, 6 * scale)] if by_key else [],
            8 * scale if by_key else 0,
        ),
        outputs={"label": Histogram(LABELS, counts, None, [5 * scale, 5 * scale, 0, 0] if by_key else [])},
        paired=Paired(
            requests=40 * scale, differing=8 * scale, keys=Paired(requests=9 * scale, differing=scale) if by_key else None
        ),
    )


def test_an_older_transformer_is_read_as_its_own_operator_read_it() -> None:
    evidence = stage_evidence([entry_of(NEW, by_key=False)], candidate=NEW, baseline=OLD, revisions={1})
    arm = evidence.candidate
    assert (arm.latency, arm.calls, arm.outputs) == ({50: 40}, 10, {"label": [7.5, 2.5, 0.0, 0.0]})


def test_beside_an_older_transformer_only_what_is_told_by_key_counts() -> None:
    both = [entry_of(NEW, by_key=False, scale=3), entry_of(NEW, by_key=True)]
    arm = stage_evidence(both, candidate=NEW, baseline=OLD, revisions={1}).candidate
    assert (arm.latency, arm.calls, arm.outputs) == ({50: 4, 51: 6}, 8, {"label": [5, 5, 0, 0]})
    shadows = [Entry(one.bundle, 1, True, requests=one.requests, keys=one.keys, paired=one.paired) for one in both]
    pairs = stage_evidence(shadows, candidate=NEW, baseline=OLD, revisions={1}, shadow=True).pairs
    assert pairs is not None
    assert (pairs.requests, pairs.units, pairs.differing) == (160, 9, 1)
    alone = stage_evidence(shadows[:1], candidate=NEW, baseline=OLD, revisions={1}, shadow=True).pairs
    assert alone is not None
    assert (alone.requests, alone.units, alone.differing) == (120, 30, 6)


def test_of_a_request_with_many_rows_one_is_told_by_key() -> None:
    process = Process()
    array: Array = np.array([[0.1, 0.9]] * 300 + [[0.9, 0.1]], np.float32)
    works = [
        SimpleNamespace(counted=False, waiting=False, rows=rows, sticky=key, failure=None, pairs=None, window=None)
        for rows, key in ((300, "large"), (1, "anna"))
    ]
    sums = process.sums[OLD]
    sums.answered(cast(Any, works), [0, 300, 301], (1.0, 0.1, 0.1), {"y": array}, None)
    process.answer(OLD, "anna", 1.0, 0.1, 0.1)
    told = process.entries()[0]
    assert (told.outputs["label"].counts, told.outputs["label"].keys) == ([300, 2, 0, 0], [1, 1, 0, 0])
    assert (sum(n for _, n in told.latency.request), told.latency.keys[0][1], told.latency.batches) == (3, 2, 1)
