"""The log: one JSON object a line whatever is logged, faults without their texts, and floods that are sampled."""

import io
import json
import logging

import numpy as np
import orjson
import pytest

from penstock import logs


@pytest.fixture
def stream():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    logs.configure("info", written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line_with_the_fields_given(stream):
    logging.getLogger("penstock.x").info(
        "request failed", extra={"model": "m", "duration_ms": 1.5, "bundle": None, "rows": np.int64(3)}
    )
    (line,) = lines(stream)
    assert line["event"] == "request failed"
    assert (line["level"], line["logger"], line["model"], line["duration_ms"], line["rows"]) == (
        "info",
        "penstock.x",
        "m",
        1.5,
        3,
    )
    assert "bundle" not in line
    assert str(line["time"]).endswith("Z")


def test_newlines_and_quotes_stay_inside_the_line(stream):
    logging.getLogger("x").warning('two\nlines "quoted"')
    (line,) = lines(stream)
    assert line["event"] == 'two\nlines "quoted"'


def _fail() -> None:
    try:
        float("CANARY")
    except ValueError as error:
        raise KeyError("CANARY again") from error


def test_a_fault_is_a_field_with_its_types_and_places_and_without_its_texts(stream):
    try:
        _fail()
    except KeyError as error:
        logging.getLogger("x").error("failed", exc_info=error)
    shown = str(lines(stream)[0]["exception"])
    assert "CANARY" not in shown.replace('float("CANARY")', "").replace('KeyError("CANARY again")', "")  # its source lines
    assert shown.index("\nValueError") < shown.index("\nKeyError")
    assert "in _fail" in shown


def test_at_level_debug_a_fault_says_what_it_says(stream):
    logs.configure("debug", stream)
    try:
        raise ValueError("inside")
    except ValueError as error:
        logging.getLogger("x").error("failed", exc_info=error)
    assert "ValueError: inside" in str(lines(stream)[0]["exception"])


def test_what_json_does_not_know_is_written_as_text(stream):
    logging.getLogger("x").info("odd", extra={"value": {1, 2} - {2}})
    assert lines(stream)[0]["value"] == "{1}"


def test_level_is_kept(stream):
    logging.getLogger("x").debug("not shown")
    assert lines(stream) == []


def test_a_flood_is_sampled_and_the_rest_counted():
    sampled = logs.Sampled(per_second=3)
    assert [sampled.admit("a", now=10.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert sampled.admit("b", now=10.5) == 0
    assert sampled.admit("a", now=11.0) == 2
    assert sampled.admit("a", now=11.1) == 0


@pytest.mark.parametrize("value", ["lone \ud800 surrogate", 2**70, {"deep": "\udfff"}, {(1, 2): "key"}])
def test_what_a_caller_smuggles_into_a_field_costs_no_line(stream, value):
    logging.getLogger("penstock.x").info("request failed", extra={"field": value})
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert line["event"] == "request failed"
    assert "field" in line
