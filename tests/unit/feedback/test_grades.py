"""Quality as sums: of rows and outcomes, by bundle and revision, and what may be added."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.evidence.quality import (
    LogQuality,
    QualityDocument,
    QualityEntry,
    added_entries,
    area,
    entries_of,
    read_quality,
)
from penstock_transformer.feedback.grades import grade, joined
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.quality import qualities
from penstock_transformer.feedback.row import LogRow

COSTS = json.dumps({"late": {"on time": 40, "late": 5}, "on time": {"late": -5}})


def logged(number: int, late: float, *, key: str | None = None, said: str = "", **more: Any) -> LogRow:
    label = said or ("late" if late > 0.5 else "on time")
    scores = {"on time": 1 - late, "late": late}
    answer = {"label": label, "scores": scores}
    fields = {
        "id": f"i{number}", "row": 0, "rows": 1, "clock": 1.0, "model": "m", "bundle": "sha256:1", "name": "n", "version": "1",
        "route_key": key, "chance": 1.0, "shadow": False, "degraded": False, "record": None, "request": "{}", "fetched": "{}",
        "answer": json.dumps(answer), "label": label, "score": scores.get(label), "value": None, "revision": 4,
    }  # fmt: skip
    return LogRow(**{**fields, **more})


def truth(number: int, label: str | None = None, value: float | None = None) -> Outcome:
    return Outcome(f"i{number}", 0, 1.0, label, value)


def known(rows: list[LogRow], *truths: str | float) -> list[tuple[LogRow, Outcome]]:
    outcomes = {
        (row.id, row.row): Outcome(row.id, row.row, 1.0, *((t, None) if isinstance(t, str) else (None, t)))
        for row, t in zip(rows, truths, strict=False)
    }
    return list(joined(rows, outcomes))


def test_sums_say_what_the_measures_say() -> None:
    noise = random.Random(5)
    rows = [logged(n, noise.random(), chance=noise.choice([0.1, 0.5, 1.0])) for n in range(300)]
    truths = ["late" if noise.random() < 0.4 else "on time" for _ in rows]
    (entry,) = grade(known(rows, *truths))
    outcomes = {(row.id, 0): Outcome(row.id, 0, 1.0, t) for row, t in zip(rows, truths, strict=True)}
    (measured,) = qualities(rows, outcomes)
    sums = entry.sums
    assert sums.rows == 300
    assert sums.weight == pytest.approx(measured.weight)
    assert sums.right / sums.labelled == pytest.approx(measured.accuracy)
    # Scores are in a hundred bins.
    assert area(sums.scores["late"]) == pytest.approx(measured.auc, abs=0.01)
    assert 0 < sums.brier / sums.scored < 1
    assert sums.units.wrong / sums.units.weight == pytest.approx(1 - sums.right / sums.labelled)
    assert sums.units.least == 0.1


def test_rows_of_one_key_are_one_unit() -> None:
    rows = [logged(n, 0.9, key="a") for n in range(9)] + [logged(9, 0.1, key="b"), logged(10, 0.1)]
    (entry,) = grade(known(rows, *["on time"] * 9, "on time", "late"))
    assert (entry.sums.rows, entry.sums.right) == (11, 1)
    assert entry.sums.units.weight == pytest.approx(3)
    assert entry.sums.units.wrong == pytest.approx(2)


def test_costs_are_those_that_were_logged() -> None:
    rows = [logged(0, 0.9, costs=COSTS), logged(1, 0.1, costs=COSTS), logged(2, 0.9, costs=COSTS)]
    (entry,) = grade(known(rows, "late", "late", "on time"))
    sums = entry.sums
    assert (sums.cost, sums.costed, sums.low, sums.high) == (40.0, 3.0, -5.0, 40.0)
    assert sums.units.costed
    assert sums.units.cost == pytest.approx((10 + 45 + 0) / 45)
    (mixed,) = grade(known([*rows, logged(3, 0.9)], "late", "late", "on time", "late"))
    assert not mixed.sums.units.costed
    (measured,) = qualities(
        rows, {(r.id, 0): Outcome(r.id, 0, 1.0, t) for r, t in zip(rows, ("late", "late", "on time"), strict=True)}
    )
    assert measured.cost == pytest.approx(40 / 3)


def test_numbers_have_errors_and_no_units() -> None:
    rows = [logged(n, 0.5, label=None, value=float(n), answer="{}") for n in range(3)]
    (entry,) = grade(known(rows, 1.0, 1.0, 5.0))
    sums = entry.sums
    assert (sums.error, sums.absolute_error, sums.squared_error) == (-4.0, 4.0, 10.0)
    assert (sums.rows, sums.units.weight) == (3, 0.0)


def test_an_outcome_that_names_an_unknown_label_is_strange_and_weighs_nothing() -> None:
    rows = [logged(0, 0.9), logged(1, 0.9), logged(2, 0.9)]
    (entry,) = grade(known(rows, "Late", "late", 1.0))
    assert (entry.sums.rows, entry.sums.strange, entry.sums.right) == (2, 1, 2)


def test_revisions_and_modes_are_apart_and_named_requests_too() -> None:
    rows = [logged(0, 0.9), logged(1, 0.9, revision=5), logged(2, 0.9, shadow=True), logged(3, 0.9, revision=None)]
    found = grade(known(rows, *["late"] * 4))
    assert [(one.revision, one.shadow, one.sums.rows) for one in found] == [
        (None, False, 1), (4, False, 1), (4, True, 1), (5, False, 1),
    ]  # fmt: skip


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["late", "on time"]), st.sampled_from([0.1, 0.5, 1.0])), min_size=2),
    st.data(),
)
def test_sums_of_two_folders_are_those_of_both(given_rows: list[tuple[float, str, float]], data: st.DataObject) -> None:
    rows = [logged(n, late, chance=chance, costs=COSTS) for n, (late, _, chance) in enumerate(given_rows)]
    pairs = known(rows, *(label for _, label, _ in given_rows))
    cut = data.draw(st.integers(1, len(rows) - 1))
    (whole,), (one,), (other,) = grade(pairs), grade(pairs[:cut]), grade(pairs[cut:])
    both = added_entries([one, other])
    assert flat(both) == pytest.approx(flat(whole))
    assert both.sums.units.costed


def flat(entry: QualityEntry) -> dict[str, float]:
    found: dict[str, float] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, each in value.items():
                walk(f"{prefix}.{name}", each)
        elif isinstance(value, list):
            for number, weight in value:
                found[f"{prefix}.{number}"] = weight
        elif isinstance(value, int | float) and value:
            found[prefix] = float(value)

    walk("", msgspec.to_builtins(entry))
    return found


def test_a_reader_takes_the_newest_of_each_folder_and_adds_folders_up() -> None:
    (entry,) = grade(known([logged(0, 0.9)], "late"))
    (later,) = grade(known([logged(0, 0.9), logged(1, 0.9)], "late", "late"))
    told = [
        QualityDocument("m", [LogQuality("one", 10.0, 0.0, [entry])]),
        QualityDocument("m", [LogQuality("one", 20.0, 0.0, [later])]),
        QualityDocument("m", [LogQuality("two", 5.0, 0.0, [entry])]),
        QualityDocument("m"),
    ]
    wired = [read_quality(msgspec.json.encode(document)) for document in told]
    (found,) = entries_of(wired)
    assert found.sums.rows == 3
    assert entries_of(wired[::-1])[0].sums.rows == 3


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"model": 3}', b'{"model": "m", "formatVersion": 2}', b'{"model":"m","logs":[{}]}']
)
def test_what_is_no_such_document_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_quality(body)
