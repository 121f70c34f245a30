"""Cells of CSV files and SQL answers: what is taken for which type, and what is refused with the expected form."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from penstock_cli.features.cells import cell_value
from penstock_transformer.store.value_types import value_type


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        ("int64", "", None), ("int64", None, None), ("double", float("nan"), None), ("int64", " 7", 7), ("int64", 7.0, 7),
        ("int64", Decimal(7), 7), ("int64", True, 1), ("double", "1e3", 1000.0), ("double", Decimal("1.5"), 1.5),
        ("bool", "Yes", True), ("bool", 0, False), ("string", 5, "5"), ("string", Decimal("1.50"), "1.50"),
        ("bytes", memoryview(b"x"), b"x"), ("bytes", "eA==", b"x"), ("unix_timestamp", "1.5", 1.5),
        ("unix_timestamp", datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60.0), ("unix_timestamp", date(1970, 1, 2), 86400.0),
        ("unix_timestamp", "1970-01-01 00:01", 60.0), ("json", {"a": 1}, '{"a":1}'), ("json", "[1]", "[1]"),
        ("list<int64>", [1, "2"], [1, 2]), ("list<bool>", '["true"]', [True]), ("map", '{"a": 1}', {"a": 1}),
    ],
)  # fmt: skip
def test_taken(kind, cell, expected):
    assert cell_value(cell, value_type(kind, "f")) == expected


@pytest.mark.parametrize(
    ("kind", "cell", "words"),
    [
        ("int64", "1.5", "whole"), ("int64", 1.5, "whole"), ("int64", "x", "whole"), ("double", "x", "number"),
        ("double", True, "number"), ("bool", "maybe", "true or false"), ("string", b"x", "text"), ("bytes", "?", "base64"),
        ("unix_timestamp", "soon", "time"), ("unix_timestamp", "inf", "time"), ("unix_timestamp", True, "time"),
        ("list<int64>", "1,2", "JSON"), ("list<int64>", "{}", "list"), ("map", "{", "JSON"),
    ],
)  # fmt: skip
def test_refused(kind, cell, words):
    with pytest.raises(ValueError, match=words):
        cell_value(cell, value_type(kind, "f"))
