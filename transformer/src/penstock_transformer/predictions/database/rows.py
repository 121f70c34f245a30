"""Rows and what they mean: `NewPrediction` -> row, row -> `Prediction`, `Payload`, `Claim`."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from penstock.errors import InvalidInput
from penstock_transformer.broker.records import Headers
from penstock_transformer.predictions.database.tables import predictions
from penstock_transformer.predictions.port import Claim
from penstock_transformer.predictions.resource import NewPrediction, Payload, Prediction, State

OPEN = (State.STARTING.value, State.PROCESSING.value)

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Headers).decode

p = predictions.c
PREDICTION = (
    p.id, p.model, p.owner, p.state, p.sequence, p.rows, p.created_s, p.started_s, p.ended_s, p.expires_s, p.idempotency_key,
    p.webhook, p.bundle, p.kind, p.message, p.field, p.result_body, p.result_headers, p.result_nbytes, p.result_reference,
)  # fmt: skip
INPUT = (p.input_body, p.input_headers, p.input_nbytes, p.input_reference)
CLAIM = (p.sequence, p.id, p.model, p.record_key, *INPUT, p.headers, p.created_s)


def prediction_of(row: Sequence[Any]) -> Prediction:
    """A row of `PREDICTION`."""
    values = list(row)
    values[3] = State(values[3])
    result = None if values[18] is None else payload_of(values[16:])
    fields: tuple[Any, ...] = (*values[:16], result)
    return Prediction(*fields)


def payload_of(row: Sequence[Any]) -> Payload:
    """Body, headers, bytes, reference."""
    return Payload(row[0], _decode(row[1]), row[2], row[3])


def claim_of(row: Sequence[Any]) -> Claim:
    """A row of `CLAIM`."""
    return Claim(row[0], row[1], row[2], row[3], payload_of(row[4:8]), _decode(row[8]), row[9])


def headers_as_kept(headers: Headers) -> bytes:
    """Headers as the tables hold them."""
    return _encode(headers)


def submitted(new: NewPrediction, sequence: int) -> Prediction:
    """The prediction of a row that has just been written."""
    return Prediction(
        new.id,
        new.model,
        new.owner,
        State.STARTING,
        sequence,
        new.rows,
        new.created_s,
        idempotency_key=new.idempotency_key,
        webhook=new.webhook,
    )


def check_text(new: NewPrediction) -> None:
    """Raises InvalidInput for text that a database does not hold: zero characters, halves of characters."""
    for name in ("id", "model", "owner", "idempotency_key", "webhook"):
        value = getattr(new, name)
        if value is not None and not storable(value):
            raise InvalidInput(f"expected text without zero characters, got {value!r:.80}", field=name)


def storable(text: str) -> bool:
    """Whether every database holds this text."""
    return "\0" not in text and (text.isascii() or text == cleaned(text))


def cleaned(text: str) -> str:
    """Text with `?` for what a database does not hold."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def among(column: sa.ColumnElement[Any], values: Sequence[Any], *, sqlite: bool) -> sa.ColumnElement[bool]:
    """Whether the column's value is one of these: the same statement however many they are, so that it is prepared once."""
    if sqlite:
        listed = sa.func.json_each(msgspec.json.encode(values).decode()).table_valued("value")
        return column.in_(sa.select(listed.c.value))
    return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
