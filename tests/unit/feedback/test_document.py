"""The logged document: what is written is read, to the bit."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_transformer.feedback.document import (
    Fetched,
    LoggedRequest,
    LoggedRow,
    answer_of,
    logged_value,
    read_request,
    write_request,
)
from penstock_transformer.feedback.row import answered_anew, rows_of


def logged(rows: list[LoggedRow], **more: Any) -> LoggedRequest:
    return LoggedRequest("id", 1.5, "m", "sha256:1", "name", "1", 0.5, rows, **more)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.text())
def test_values_come_back_bit_for_bit(number: float, whole: int, text: str) -> None:
    row = LoggedRow(
        {"n": number, "i": whole, "t": text}, {"s": Fetched("v", [text, whole], number, {"c": number})}, {"value": number}
    )
    back = read_request(write_request(logged([row]))).rows[0]
    assert back == row
    assert math.copysign(1, back.row["n"]) == math.copysign(1, number)


def test_single_precision_stays_single_precision() -> None:
    for value in np.array([0.1, 1e-40, 3.4e38], np.float32):
        back = read_request(write_request(logged([LoggedRow({"x": logged_value(value)}, {}, {})]))).rows[0].row["x"]
        assert np.float32(back) == value


def test_what_json_cannot_hold() -> None:
    assert [logged_value(value) for value in (math.inf, -math.inf, math.nan)] == ["Infinity", "-Infinity", None]
    assert logged_value(b"\x00\xff") == "AP8="
    assert logged_value(np.array([1, 2])) == [1, 2]
    assert logged_value({"a": (1.0, b"")}) == {"a": [1.0, ""]}


def test_what_is_no_logged_prediction() -> None:
    for broken in (b"", b"{", b"[]", b'{"id": 3}'):
        with pytest.raises(InvalidInput):
            read_request(broken)
    with pytest.raises(InvalidInput, match="formatVersion"):
        read_request(write_request(logged([], format_version=2)))


def test_rows_of_a_request() -> None:
    answers: list[dict[str, Any]] = [
        {"label": "a", "scores": {"a": 0.75, "b": 0.25}},
        {"value": True},
        {"value": 2.5},
        {"outputs": {"y": [1]}},
    ]
    request = logged([LoggedRow({"x": 1}, {}, answer, "r") for answer in answers], shadow=True)
    rows = list(rows_of(request))
    assert [(row.row, row.rows, row.label, row.score, row.value) for row in rows] == [
        (0, 4, "a", 0.75, None),
        (1, 4, None, None, 1.0),
        (2, 4, None, None, 2.5),
        (3, 4, None, None, None),
    ]
    assert [row.answered() for row in rows] == answers
    assert (rows[0].sent(), rows[0].record, rows[0].shadow, rows[0].label_of_bundle) == ({"x": 1}, "r", True, "name@sha256:1")
    anew = answered_anew(rows[0], {"value": 3}, "other", "sha256:2")
    assert (anew.label, anew.value, anew.label_of_bundle, anew.id) == (None, 3.0, "other@sha256:2", "id")


def test_an_answer_without_what_is_logged_beside_it() -> None:
    prediction = {"label": "a", "data": {"x": 1}, "defaulted": ["x"], "ages_s": {}, "degraded": True}
    assert answer_of(prediction) == {"label": "a", "defaulted": ["x"]}
