"""One update as it comes: a JSON document of an entity's keys and values, and when they became true.

    {"keys": {"tailnum": "N29917"}, "values": {"seats": 149, "built": 1999}, "event_time": "2026-01-02T03:04:05.678Z"}

It is the entity's whole row in its view: a feature that is not named is missing from then on, as in `PUT /records/{id}`, since a
store that keeps one time a row could not tell how old a value is that was left alone. The time is `event_time`, else the header
`ce_time`, else the record's own timestamp; which it is decides alone which of two updates counts.
"""

from typing import Any

import msgspec

from penstock.errors import InvalidInput, UnsupportedType
from penstock.features.spec import ViewLayout
from penstock_transformer.broker.records import Record
from penstock_transformer.http.record_set import check_characters, event_time_of, value_from_json
from penstock_transformer.store.entity_keys import EntityKeyCodec
from penstock_transformer.store.port import RowWrite
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.headers import by_name

_JSON = ("", "application/json")
_MOST_BYTES = 1 << 20


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    keys: dict[str, Any]
    values: dict[str, Any]
    event_time: float | int | str | None = None


_decode = msgspec.json.Decoder(_Document).decode


class UpdateReader:
    """Reads the updates of one view. Everything that a store would refuse is refused here, so that one never spoils others."""

    def __init__(self, view: str, layout: ViewLayout, key_serialization: int) -> None:
        self._view = view
        self._keys = dict(layout.keys)
        self._values = dict(layout.values)
        self._codec = EntityKeyCodec(layout.keys, key_serialization, view)

    def read(self, record: Record) -> RowWrite:
        """The row. Raises InvalidInput naming the field (`keys.tailnum`, `values.seats`, `event_time`), UnsupportedType."""
        headers = by_name(record.headers)
        document = self._document(record.value, headers.get(names.CONTENT_TYPE, b""))
        key = self._key(document.keys)
        values = self._row(document.values)
        return RowWrite(self._view, key, values, self._time(document, headers, record))

    def _document(self, value: bytes | None, content_type: bytes) -> _Document:
        kind = content_type.decode("latin-1").partition(";")[0].strip().lower()
        if kind not in _JSON:
            raise UnsupportedType(f"expected application/json, got {kind[:100]!r}", field=names.CONTENT_TYPE)
        if not value:
            raise InvalidInput("expected a JSON object, got an empty record; a row is never deleted by an update")
        if len(value) > _MOST_BYTES:
            raise InvalidInput(f"expected at most {_MOST_BYTES} bytes, got {len(value)}")
        try:
            return _decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(f"expected {{keys, values, event_time}}: {error}"[:500]) from None

    def _key(self, given: dict[str, Any]) -> tuple[Any, ...]:
        _check_names(given, self._keys, "keys")
        key = []
        for name, kind in self._keys.items():
            field = f"keys.{name}"
            value = None if name not in given else value_from_json(given[name], kind, field)
            if value is None:
                raise InvalidInput(f"missing; expected a key of type {kind}", field=field)
            check_characters(value, field)
            key.append(value)
        try:
            self._codec.encode([tuple(key)])
        except InvalidInput as error:
            name = (error.field or "").removeprefix("keys[0].")
            raise InvalidInput(error.message, field=f"keys.{name}" if name else "keys") from None
        return tuple(key)

    def _row(self, given: dict[str, Any]) -> dict[str, Any]:
        _check_names(given, self._values, "values")
        return {name: value_from_json(given.get(name), kind, f"values.{name}") for name, kind in self._values.items()}

    @staticmethod
    def _time(document: _Document, headers: dict[str, bytes], record: Record) -> float:
        if document.event_time is not None:
            return event_time_of(document.event_time)
        stated = headers.get(names.TIME)
        if stated is not None:
            return event_time_of(stated.decode("utf-8", "replace"), names.TIME)
        return event_time_of(record.timestamp_ms / 1e3, "timestamp")


def _check_names(given: dict[str, Any], known: dict[str, str], field: str) -> None:
    for name in given:
        if name not in known:
            raise InvalidInput(f"unknown; expected some of {', '.join(known)}", field=f"{field}.{name[:80]}")
