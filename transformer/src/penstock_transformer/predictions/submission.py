"""What a body becomes: the one form in which a prediction's input is kept, whichever form it came in.

    JSON rows ----------------------------------(as sent)--> {"rows": …, "options": …}      application/json
    CSV, NDJSON, Arrow, form, picture --(bytes as base64)--^
    v2 JSON, v2 binary tensors -----------------(as sent)--> the bytes, with the length of the JSON part

Invariant: what is kept is read again by the worker exactly as a Kafka record's value is, and asks for what the caller asked.
"""

import base64
import math
from typing import Any, NamedTuple

import msgspec
import orjson

from penstock.dataplane import Context, ModelMetadata
from penstock.errors import InvalidInput, TooLarge, UnsupportedType
from penstock.protocol import v2
from penstock.protocol.limits import Limits
from penstock_transformer.broker.records import Headers
from penstock_transformer.http.bulk.forms import ARROW
from penstock_transformer.http.csv_rows import Types, csv_rows
from penstock_transformer.http.forms import form_rows
from penstock_transformer.http.json_rows import json_rows
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.http.predict import image_rows
from penstock_transformer.http.query import asked
from penstock_transformer.plan import FetchPlan
from penstock_transformer.predictions.arrow_rows import arrow_rows
from penstock_transformer.predictions.checking import check_rows, check_tensors, rows_of
from penstock_transformer.predictions.resource import Payload
from penstock_transformer.requests import Row

ACCEPTED = (
    "application/json, application/x-ndjson, application/octet-stream (v2), text/csv, application/vnd.apache.arrow.stream, "
    "multipart/form-data, image/png, image/jpeg"
)
_JSON: Headers = (("content-type", b"application/json"),)
_NDJSON = (b"application/x-ndjson", b"application/ndjson", b"application/jsonl")


class _Inputs(msgspec.Struct):
    inputs: Any


_find_inputs = msgspec.json.Decoder(_Inputs).decode


class Body(NamedTuple):
    """A request's bytes, and what says how to read them: `header_length` is v2's, `query` what follows `?`."""

    data: bytes
    content_type: bytes
    header_length: bytes | None = None
    query: bytes = b""

    @property
    def kind(self) -> bytes:
        """The media type alone; JSON where nothing is said, and where `curl -d` calls JSON a form."""
        kind = self.content_type.partition(b";")[0].strip().lower()
        if kind == b"application/x-www-form-urlencoded" and self.data.lstrip()[:1] == b"{":
            return b"application/json"
        return kind or b"application/json"


class Accepted(NamedTuple):
    """An input to be kept, and how many rows it has."""

    payload: Payload
    rows: int


class Intake:
    """Reads bodies for one model. Without I/O; a large body is read in a thread. `plan` None: a bundle without features,
    whose `metadata` is then needed."""

    def __init__(
        self, model: str, plan: FetchPlan | None, metadata: ModelMetadata | None, ways: WayInLimits, limits: Limits
    ) -> None:
        self._model = model
        self.plan = plan
        self._metadata = metadata
        self._ways = ways
        self._limits = limits

    def read(self, body: Body) -> Accepted:
        """The input as it is kept. Raises InvalidInput naming the field, TooLarge, UnsupportedType."""
        if body.header_length is not None:
            return self._tensors(body)
        if body.kind != b"application/json":
            rows = self._rows(body)
            return self._canonical([_plain_row(row, at) for at, row in enumerate(rows)], asked(body.query)[1])
        try:
            rows, options = json_rows(body.data, most_rows=self._ways.rows)
        except InvalidInput:
            if _has_inputs(body.data):
                return self._tensors(body)
            raise
        if body.query:
            return self._canonical(rows, (options or {}) | (asked(body.query)[1] or {}))
        check_rows(rows, self.plan, self._metadata)
        return Accepted(Payload(body.data, _JSON, len(body.data)), len(rows))

    def _rows(self, body: Body) -> list[Row]:
        types: Types | None = None if self.plan is None else self.plan.column_types
        if body.kind == b"text/csv":
            return csv_rows(body.data, types, most_rows=self._ways.rows)
        if body.kind == b"multipart/form-data":
            return form_rows(body.data, body.content_type, types, self._ways)
        if body.kind in (b"image/png", b"image/jpeg"):
            return image_rows(body.data, types, self._ways)
        if body.kind in _NDJSON:
            return _line_rows(body.data, self._ways.rows)
        if body.kind == ARROW:
            return arrow_rows(body.data, self.plan, most_rows=self._ways.rows)
        if body.kind == b"application/octet-stream":
            raise InvalidInput("missing; expected the length of the JSON part", field="Inference-Header-Content-Length")
        shown = body.kind.decode("latin-1")[:80].encode("unicode_escape").decode()
        raise UnsupportedType(f"expected one of {ACCEPTED}, got {shown}", field="Content-Type")

    def _canonical(self, rows: list[Row], options: dict[str, Any] | None) -> Accepted:
        check_rows(rows, self.plan, self._metadata)
        document: dict[str, Any] = {"rows": rows} | ({"options": options} if options else {})
        try:
            data = orjson.dumps(document)
        except orjson.JSONEncodeError:
            raise InvalidInput("expected integers of at most 64 bits and text that UTF-8 can hold", field="rows") from None
        return Accepted(Payload(data, _JSON, len(data)), len(rows))

    def _tensors(self, body: Body) -> Accepted:
        length = None if body.header_length is None else _length(body.header_length)
        request = v2.decode_request(
            body.data, model=self._model, version=None, context=Context(""), header_length=length, limits=self._limits
        )
        check_tensors(request, self.plan, self._metadata)
        headers = _JSON
        if body.header_length is not None:
            headers = (
                ("content-type", b"application/octet-stream"),
                ("inference-header-content-length", body.header_length),
            )
        return Accepted(Payload(body.data, headers, len(body.data)), rows_of(request))


def _has_inputs(data: bytes) -> bool:
    try:
        _find_inputs(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _line_rows(data: bytes, most_rows: int) -> list[Row]:
    """The rows of NDJSON. All of it is refused for one bad line: nobody is there to be told of one."""
    rows: list[Row] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        if len(rows) >= most_rows:
            raise TooLarge(f"expected at most {most_rows} rows", field="rows")
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"line {number}: expected JSON: {error}", field=f"rows[{len(rows)}]") from None
        if not isinstance(row, dict):
            raise InvalidInput(f"line {number}: expected an object", field=f"rows[{len(rows)}]")
        rows.append(row)
    return rows


def _plain_row(row: Row, at: int) -> Row:
    """A row whose values JSON can hold. Raises InvalidInput for a number that it cannot."""
    for name, value in row.items():
        if isinstance(value, float) and math.isinf(value):
            raise InvalidInput(f"expected a finite number, got {value}", field=f"rows[{at}].{name}")
    return {name: base64.b64encode(v).decode() if isinstance(v, bytes) else v for name, v in row.items()}


def _length(value: bytes) -> int:
    if value.isdigit() and len(value) < 16:
        return int(value)
    raise InvalidInput(f"expected a number of bytes, got {value[:40]!r}", field="Inference-Header-Content-Length")
