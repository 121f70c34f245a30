"""The records of one model: the feature view that its spec's `record` names, read and written through the feature store.

    id (text) -> key -> FeatureStore.read | write | delete | scan -> Record

Values are checked here against the view's types, by the store's own writer, so that one wrong row never spoils the others.
"""

import base64
import math
import re
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from penstock.errors import Conflict, InvalidInput, NotFound
from penstock_transformer.http.cells import WrongCell, base64_bytes, seconds
from penstock_transformer.http.plane import PredictPlane
from penstock_transformer.keys import key_from_text
from penstock_transformer.plan import SetPlan
from penstock_transformer.store.port import FeatureStore, RowWrite, SetColumns, SetRead
from penstock_transformer.store.value_reading import read_value
from penstock_transformer.store.value_types import VALUE_TYPES
from penstock_transformer.store.value_writing import write_value

# Ids that are made for integer keys stay exact in JavaScript.
_ID_BITS = 53
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LATEST_S = 253402300799.0
# What clocks and time zones may be wrong by.
_AHEAD_S = 86400.0


@dataclass(frozen=True, slots=True)
class Record:
    """One stored record, JSON-ready: `event_time` in seconds since the epoch."""

    id: Any
    event_time: float
    values: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"id": self.id, "event_time": _iso(self.event_time), "values": self.values}


class RecordSet:
    """One model's records. Raises NotFound if the model has none, or keeps them under a key of several parts."""

    def __init__(self, transformer: PredictPlane, model: str) -> None:
        plan, store = transformer.plan(model), transformer.store(model)
        record = None if plan is None else plan.record
        if plan is None or record is None or store is None:
            raise NotFound(f"model {model!r} has no records: its features.yaml names no `record`", field="model")
        if len(record.join_keys) != 1:
            raise NotFound(f"records of {model!r} have a key of several parts: {', '.join(record.join_keys)}", field="model")
        self.model = model
        self.columns: dict[str, str] = plan.record_columns
        self.key_name = record.join_keys[0]
        self.key_type = record.key_types[0]
        self._record: SetPlan = record
        self._store: FeatureStore = store

    def key(self, given: Any, field: str = "id") -> Any:
        """A record's key from a path's text or a JSON value. Raises InvalidInput for another type than the key's."""
        if isinstance(given, str) and given:
            return key_from_text(given, self.key_type, field)
        if isinstance(given, int) and not isinstance(given, bool) and self.key_type in ("int32", "int64"):
            return key_from_text(str(given), self.key_type, field)
        raise InvalidInput(f"expected an id of type {self.key_type}, got {given!r:.60}", field=field)

    def new_key_of(self, given: Any, field: str = "id") -> Any:
        """The key that a record is to be stored under. Raises InvalidInput as `key` does, and for control characters."""
        key = self.key(given, field)
        check_characters(key, field)
        return key

    def new_key(self) -> Any:
        """A key for a record that came without one."""
        if self.key_type == "string":
            return str(uuid.uuid4())
        if self.key_type == "int64":
            return secrets.randbits(_ID_BITS)
        raise InvalidInput(f"expected an id of type {self.key_type}; ids are made for string and int64 keys only", field="id")

    def checked(self, values: Any, field: str = "values") -> dict[str, Any]:
        """Every column's value, None where not given. Raises InvalidInput naming the column."""
        if not isinstance(values, dict):
            raise InvalidInput(f"expected an object of column to value, got {type(values).__name__}", field=field)
        for name in values:
            if name not in self.columns:
                raise InvalidInput(f"unknown column; expected some of {', '.join(self.columns)}", field=f"{field}.{name[:80]}")
        return {name: value_from_json(values.get(name), kind, f"{field}.{name}") for name, kind in self.columns.items()}

    async def get(self, keys: Sequence[Any]) -> list[Record | None]:
        """The records of keys, in order, None for each that the store does not hold."""
        if not keys:
            return []
        columns = tuple(self.columns)
        answer = (await self._store.read([SetRead(self._record.view, [(key,) for key in keys], columns)]))[0]
        return _records(keys, answer, columns)

    async def put(self, key: Any, values: dict[str, Any], event_time: float) -> None:
        """Write one record, or the very one that the store holds. Raises Conflict if it holds another that is as new or newer."""
        written = await self._store.write([RowWrite(self._record.view, (key,), values, event_time)])
        if written[0]:
            return
        held = (await self.get([key]))[0]
        as_stored = {name: _as_stored(value, self.columns[name]) for name, value in values.items()}
        if held is not None and held.document() == Record(key, event_time, as_stored).document():
            return
        raise _conflict(held, event_time)

    async def put_many(self, rows: Sequence[tuple[Any, dict[str, Any], float]]) -> int:
        """Write records; the number written, the others being no newer than what the store holds."""
        view = self._record.view
        return sum(await self._store.write([RowWrite(view, (key,), values, moment) for key, values, moment in rows]))

    async def delete(self, key: Any) -> bool:
        """Whether there was such a record; it is gone now."""
        return await self._store.delete(self._record.view, [(key,)]) > 0

    async def page(self, cursor: str | None, limit: int) -> tuple[list[Record], str | None]:
        """A page of records and the cursor of the next one."""
        keys, following = await self._store.scan(self._record.view, cursor, limit)
        found = await self.get([key[0] for key in keys])
        return [record for record in found if record is not None], following


def _iso(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat().replace("+00:00", "Z")


def _conflict(held: Record | None, event_time: float) -> Conflict:
    """Of two writes of one time the first stays: which came last says nothing about which is right, and a load that is repeated,
    or a stream that is read again, must not change what others have corrected since."""
    remedy = "give a later event_time, or none to mean now"
    if held is not None and round(held.event_time, 6) > round(event_time, 6):
        return Conflict(f"the store holds a newer record, as of {_iso(held.event_time)}; {remedy}", field="event_time")
    return Conflict(f"the store holds other values as of this very time; {remedy}", field="event_time")


def check_characters(key: Any, field: str) -> None:
    """Raises InvalidInput for control characters: they would end a line in logs, CSV files and headers that name the record."""
    if isinstance(key, str) and _CONTROL.search(key):
        raise InvalidInput(f"expected an id without control characters, got {key!r:.60}", field=field)


def value_from_json(value: Any, kind: str, field: str) -> Any:
    """A JSON value as the store takes it: bytes from base64, timestamps from seconds or ISO 8601. Raises InvalidInput."""
    if isinstance(value, str) and kind in ("bytes", "unix_timestamp"):
        try:
            value = base64_bytes(value) if kind == "bytes" else seconds(value)
        except WrongCell as error:
            raise InvalidInput(str(error), field=field) from None
    write_value(value, VALUE_TYPES[kind], field)
    return value


def event_time_of(given: Any, field: str = "event_time") -> float:
    """Seconds since the epoch of a JSON value, now for None. Raises InvalidInput, for more than a day in the future too."""
    if given is None:
        return time.time()
    moment: Any = given
    if isinstance(given, str):
        try:
            moment = seconds(given)
        except WrongCell as error:
            raise InvalidInput(str(error), field=field) from None
    if isinstance(moment, bool) or not isinstance(moment, int | float) or not 0 <= moment <= _LATEST_S:
        raise InvalidInput("expected seconds since 1970 or an ISO 8601 time, of the years 1970 to 9999", field=field)
    if moment > time.time() + _AHEAD_S:
        # It would keep every later write out until that day comes.
        raise InvalidInput("expected a time that has come, got one more than a day in the future", field=field)
    return float(moment)


def _as_stored(value: Any, kind: str) -> Any:
    """A checked value as GET gives it: rounded to what the store keeps of it."""
    if value is None:
        return None
    expected = VALUE_TYPES[kind]
    return _json(read_value(write_value(value, expected, kind), expected))


def _records(keys: Sequence[Any], answer: SetColumns, columns: Sequence[str]) -> list[Record | None]:
    lists = [answer.columns[name].to_list() for name in columns]
    rows = zip(*lists, strict=True) if lists else [()] * len(keys)
    times = answer.event_times.tolist()
    return [
        None if math.isnan(moment) else Record(key, moment, {n: _json(v) for n, v in zip(columns, values, strict=True)})
        for key, moment, values in zip(keys, times, rows, strict=True)
    ]


def _json(value: Any) -> Any:
    """A stored value as JSON holds it: bytes as base64, arrays as lists, None for what is not finite."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, np.ndarray | np.generic):
        return _json(value.tolist())
    if isinstance(value, list):
        return [_json(element) for element in value]
    if isinstance(value, dict):
        return {str(key): _json(element) for key, element in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
