"""Answers as an Arrow stream: a column for each part of a prediction, and `error` and `field` for rows that were refused.

The schema follows from the first prediction, which is why rows refused before it are held back, up to a limit. The row's data is
not repeated: its sender has it. Columns: `label`, `scores` (struct of a float64 a label), `value`, `outputs` (struct),
`defaulted` (list of names), `error`, `field`; those that the model's predictions have.
"""

import io
from typing import Any

import numpy as np

from penstock.errors import InvalidInput, PenstockError
from penstock_transformer.http.bulk.batch import Answer

_MOST_HELD_ROWS = 100_000
_COLUMNS = ("label", "scores", "value", "outputs", "defaulted")

# A type: "string", "float64", "int64", "bool", ["list", type] or {name: type} for a struct.
Type = Any


class ArrowWriter:
    """Implements `AnswerWriter`."""

    content_type = b"application/vnd.apache.arrow.stream"
    idle = b""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._held: list[Answer] = []
        self._types: dict[str, Type] = {}
        self._writer: Any = None

    def write(self, numbers: list[int], answers: list[Answer], bundle: str | None) -> bytes:  # noqa: ARG002
        answers = self._held + answers
        self._held = []
        if self._writer is None:
            if not any(isinstance(answer, dict) for answer in answers):
                self._held = answers
                if len(answers) > _MOST_HELD_ROWS:
                    raise InvalidInput(f"the first {len(answers)} rows were refused; the first of them: {answers[0]}")
                return b""
            self._open(answers)
        self._write(answers)
        return self._taken()

    def fail(self, error: PenstockError, number: int | None) -> bytes:  # noqa: ARG002
        if self._writer is not None:
            return self.write([], [error], None)
        self._held.append(error)
        return b""

    def finish(self) -> bytes:
        if self._writer is None:
            self._open(self._held)
            if self._held:
                self._write(self._held)
        self._writer.close()
        return self._taken()

    def _open(self, answers: list[Answer]) -> None:
        from nanoarrow.ipc import StreamWriter  # type: ignore[import-untyped]

        predictions = [answer for answer in answers if isinstance(answer, dict)]
        self._types = {
            name: _type_of([one.get(name) for one in predictions]) for name in _COLUMNS if any(name in one for one in predictions)
        }
        self._types |= {"error": "string", "field": "string"}
        self._writer = StreamWriter.from_writable(self._out)
        if not answers:
            self._write([])

    def _write(self, answers: list[Answer]) -> None:
        rows = [answer if isinstance(answer, dict) else {"error": answer.message, "field": answer.field} for answer in answers]
        self._writer.write_array(_array(rows, self._types))

    def _taken(self) -> bytes:
        data = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return data


def _type_of(values: list[Any]) -> Type:
    """The type that holds all values; float64 where there are none."""
    present = [value for value in values if value is not None]
    if not present:
        return "float64"
    first = present[0]
    if isinstance(first, dict):
        return {str(name): _type_of([value.get(name) for value in present]) for name in first}
    if isinstance(first, list):
        inner = [element for value in present for element in value]
        return ["list", _type_of(inner) if inner else "string"]
    kinds = {type(value) for value in present}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int64"
    return "float64" if kinds <= {int, float} else "string"


def _schema(kind: Type) -> Any:
    import nanoarrow  # type: ignore[import-untyped]

    if isinstance(kind, dict):
        return nanoarrow.struct({name: _schema(inner) for name, inner in kind.items()})
    if isinstance(kind, list):
        return nanoarrow.list_(_schema(kind[1]))
    return {"string": nanoarrow.string, "float64": nanoarrow.float64, "int64": nanoarrow.int64, "bool": nanoarrow.bool_}[kind]()


def _array(values: list[Any], kind: Type) -> Any:
    """Values of one type as an Arrow array; None is missing, but an empty list or a struct of missing parts is not told apart."""
    import nanoarrow

    if isinstance(kind, dict):
        children = [
            _array([None if value is None else value.get(name) for value in values], inner) for name, inner in kind.items()
        ]
        return nanoarrow.c_array_from_buffers(_schema(kind), len(values), buffers=[None], children=children)
    if isinstance(kind, list):
        lists = [value or [] for value in values]
        offsets = np.zeros(len(lists) + 1, np.int32)
        np.cumsum([len(one) for one in lists], out=offsets[1:])
        child = _array([element for one in lists for element in one], kind[1])
        return nanoarrow.c_array_from_buffers(_schema(kind), len(lists), buffers=[None, offsets], children=[child])
    if kind == "string":
        return nanoarrow.c_array([None if value is None else str(value) for value in values], _schema(kind))
    if kind == "float64" and None not in values:
        return nanoarrow.c_array(np.array(values, np.float64))
    return nanoarrow.c_array(values, _schema(kind))
