"""Rows from a CSV, Parquet or JSON-lines file, or an SQL query, as a data frame of plain values.

CSV has no types: every field is read as text and turned into the type that the spec names, an empty field into a missing value.
`NA` in a column of text is the text NA.
"""

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from penstock.errors import InvalidInput
from penstock.features.parameters import describe
from penstock.features.plan import element_type
from penstock.features.spec import FeatureSpec


def read_table(path: Path, spec: FeatureSpec | None, *, limit: int | None = None) -> pd.DataFrame:
    """The rows of a .csv, .parquet or .jsonl file. Raises InvalidInput naming the file, row or column at fault."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            return typed(pd.read_csv(path, dtype=str, keep_default_na=False, nrows=limit), spec)
        if suffix in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
            return frame if limit is None else frame.head(limit)
        if suffix in (".jsonl", ".ndjson", ".json"):
            return pd.DataFrame(read_lines(path.read_text(), path.name, limit), dtype=object)
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"cannot be read: {error}", field=path.name) from None
    raise InvalidInput(
        f"expected a file that ends in .csv, .parquet or .jsonl, got {path.suffix or 'no ending'}", field=path.name
    )


def read_query(query: str, connection: str) -> pd.DataFrame:
    """The rows of an SQL query; `connection` is an SQLAlchemy URL. Raises InvalidInput with the database's own words."""
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(connection)
        with engine.connect() as opened:
            return pd.read_sql_query(sqlalchemy.text(query), opened)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise InvalidInput(str(error).split("\n")[0], field="--sql") from None


def read_lines(text: str, name: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Rows of JSON lines, or of one JSON list, or of an object with `rows`."""
    if text.lstrip().startswith("["):
        rows = _json(text, name)
    else:
        lines = [line for line in text.splitlines() if line.strip()]
        rows = [_json(line, f"{name} line {number}") for number, line in enumerate(lines[:limit], start=1)]
        if len(rows) == 1 and isinstance(rows[0], dict) and isinstance(rows[0].get("rows"), list):
            rows = rows[0]["rows"]
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidInput(
                f"expected an object of feature names and values, got {describe(row)}", field=f"{name}: rows[{index}]"
            )
    found: list[dict[str, Any]] = rows[:limit]
    return found


def _json(text: str, field: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"not JSON: {error}", field=field) from None


def typed(frame: pd.DataFrame, spec: FeatureSpec | None) -> pd.DataFrame:
    """A frame of text with each feature's column in the feature's type; other columns become numbers where every field is one."""
    types = {feature.name: feature.type for feature in spec.features} if spec is not None else {}
    columns = {name: _typed_column(frame[name].tolist(), str(name), types.get(str(name))) for name in frame.columns}
    return pd.DataFrame(columns)


def _typed_column(fields: list[str], name: str, feature_type: str | None) -> Any:
    if feature_type is None:
        return _guessed(fields)
    if feature_type.startswith("list<"):
        read: Callable[[str], Any] = json.loads
    else:
        read = _READERS[element_type(feature_type)]
    values: list[Any] = []
    for row, text in enumerate(fields):
        try:
            values.append(None if text == "" else read(text))
        except (ValueError, KeyError):
            raise InvalidInput(f"expected {feature_type}, got {describe(text)}", field=f"rows[{row}].{name}") from None
    return pd.Series(values, dtype=object)


def _guessed(fields: list[str]) -> Any:
    if any(field not in ("", "true", "false", "True", "False") for field in fields):
        numbers = pd.to_numeric(pd.Series([field or None for field in fields], dtype=object), errors="coerce")
        gaps = np.array([field == "" for field in fields])
        return numbers if bool((numbers.notna() | gaps).all()) else pd.Series(fields, dtype=object)
    return pd.Series([None if field == "" else field.lower() == "true" for field in fields], dtype=object)


def _bool(text: str) -> bool:
    return {"true": True, "false": False, "1": True, "0": False}[text.strip().lower()]


def _timestamp(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


_READERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "bool": _bool,
    "int32": int,
    "int64": int,
    "float32": float,
    "float64": float,
    "timestamp": _timestamp,
    "image": str,
}


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values: None for what is missing, ISO text for times, base64 for bytes."""
    names = [str(name) for name in frame.columns]
    columns = [[plain_value(value) for value in frame[name].tolist()] for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def plain_value(value: Any) -> Any:
    """One value as JSON holds it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, np.ndarray | list | tuple):
        return [plain_value(each) for each in value]
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
