"""A logged row as the Parquet files have it: one row a predicted row, columns that any tool reads, the rest as JSON.

    LoggedRequest --rows_of--> LogRow, … --parquet--> part

Invariant: rows with equal `id` and `clock` are one request's; they stand together, in the caller's order.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from penstock_transformer.feedback.document import Fetched, LoggedRequest

_encode = msgspec.json.Encoder().encode
_fetched = msgspec.json.Decoder(dict[str, Fetched]).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode


class LogRow(NamedTuple):
    """`id` and `row` name it, `rows` are how many its request has. `clock`, seconds since 1970, is what ages were judged by.
    `request`, `fetched`, `answer` and `costs` are JSON; `label`, `score` (of the label) and `value` are out of the answer."""

    id: str
    row: int
    rows: int
    clock: float
    model: str
    bundle: str
    name: str
    version: str | None
    route_key: str | None
    chance: float
    shadow: bool
    degraded: bool
    record: str | None
    request: str
    fetched: str
    answer: str
    label: str | None
    score: float | None
    value: float | None
    revision: int | None = None
    costs: str | None = None

    def sent(self) -> dict[str, Any]:
        """The caller's row."""
        return _object(self.request)

    def stored(self) -> dict[str, Fetched]:
        """What the store had, by set."""
        return _fetched(self.fetched)

    def answered(self) -> dict[str, Any]:
        """What was answered."""
        return _object(self.answer)

    @property
    def label_of_bundle(self) -> str:
        """`name@sha256:…`."""
        return f"{self.name}@{self.bundle}" if self.bundle else self.name


def rows_of(logged: LoggedRequest) -> Iterator[LogRow]:
    """A request's rows."""
    costs = None if logged.costs is None else _encode(logged.costs).decode()
    for at, one in enumerate(logged.rows):
        label, score, value = _said(one.answer)
        yield LogRow(
            id=logged.id,
            row=at,
            rows=len(logged.rows),
            clock=logged.time,
            model=logged.model,
            bundle=logged.bundle,
            name=logged.name,
            version=logged.version,
            route_key=logged.route_key,
            chance=logged.chance,
            shadow=logged.shadow,
            degraded=logged.degraded,
            record=one.record,
            request=_encode(one.row).decode(),
            fetched=_encode(one.fetched).decode(),
            answer=_encode(one.answer).decode(),
            label=label,
            score=score,
            value=value,
            revision=logged.revision,
            costs=costs,
        )


def answered_anew(row: LogRow, answer: dict[str, Any], name: str, digest: str) -> LogRow:
    """The same row with what another bundle answers."""
    label, score, value = _said(answer)
    return row._replace(name=name, bundle=digest, answer=_encode(answer).decode(), label=label, score=score, value=value)


def _said(answer: dict[str, Any]) -> tuple[str | None, float | None, float | None]:
    """Label, its score, and value of an answer."""
    label, value = answer.get("label"), answer.get("value")
    score = (answer.get("scores") or {}).get(label) if label is not None else None
    return label if isinstance(label, str) else None, score, float(value) if isinstance(value, int | float) else None
