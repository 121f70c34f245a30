"""Answers as text: a JSON object a line, or an event each."""

from typing import Any, Protocol

from penstock.errors import PenstockError
from penstock.serving.events import format_event
from penstock.serving.status import HTTP_STATUS
from penstock_transformer.http.answers import dumped
from penstock_transformer.http.bulk.batch import Answer


class AnswerWriter(Protocol):
    """Turns answers into the bytes of a body, a batch at a time."""

    content_type: bytes
    idle: bytes
    """What may be sent to say that the connection is alive; empty where the form has no word for it."""

    def write(self, numbers: list[int], answers: list[Answer], bundle: str | None) -> bytes:
        """A batch's answers. `bundle` is given where it is another than the answer's header says."""

    def fail(self, error: PenstockError, number: int | None) -> bytes:
        """The rest of the rows cannot be read: the last that is written before `finish`."""

    def finish(self) -> bytes:
        """What ends the body."""


def error_document(error: PenstockError, unit: str, number: int | None) -> dict[str, Any]:
    """A row's error: `{"line" or "row", "error", "kind", "status"}`, and `field` where there is one."""
    document: dict[str, Any] = {} if number is None else {unit: number}
    document |= {"error": error.message, "kind": error.kind.value, "status": HTTP_STATUS[error.kind]}
    if error.field is not None:
        document["field"] = error.field
    return document


class LineWriter:
    """NDJSON: a line an answer, in the order sent. Implements `AnswerWriter`."""

    content_type = b"application/x-ndjson"
    idle = b""

    def __init__(self, unit: str) -> None:
        self._unit = unit

    def write(self, numbers: list[int], answers: list[Answer], bundle: str | None) -> bytes:
        lines = [dumped(self._document(number, answer, bundle)) for number, answer in zip(numbers, answers, strict=True)]
        lines.append(b"")
        return b"\n".join(lines)

    def fail(self, error: PenstockError, number: int | None) -> bytes:
        return dumped(error_document(error, self._unit, number)) + b"\n"

    def finish(self) -> bytes:
        return b""

    def _document(self, number: int, answer: Answer, bundle: str | None) -> dict[str, Any]:
        if isinstance(answer, PenstockError):
            return error_document(answer, self._unit, number)
        return answer if bundle is None else {**answer, "bundle": bundle}


class EventWriter(LineWriter):
    """Server-sent events: one an answer, its id the row's number; then one called `end`, so that a browser need not come back."""

    content_type = b"text/event-stream"
    idle = b": waiting\n\n"

    def write(self, numbers: list[int], answers: list[Answer], bundle: str | None) -> bytes:
        return b"".join(
            format_event(
                dumped(self._document(number, answer, bundle)),
                id=str(number),
                event="refused" if isinstance(answer, PenstockError) else None,
            )
            for number, answer in zip(numbers, answers, strict=True)
        )

    def fail(self, error: PenstockError, number: int | None) -> bytes:
        return format_event(dumped(error_document(error, self._unit, number)), event="refused")

    def finish(self) -> bytes:
        return format_event(b"{}", event="end")
