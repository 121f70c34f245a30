"""A record as a request: whatever bytes come, a request of the pipeline or a PenstockError that says what is wrong with them.

    Record --headers--> Context (id, deadline, trace, priority, route key, bundle)
           --value----> application/json                    a predict body, or v2 JSON if it has a top-level `inputs`
                        inference-header-content-length     v2 binary
                        application/cloudevents+json        an event in structured mode around one of these; known by its
                                                            `specversion`, too, under the media type of its data, or none
                        penstock-reference and no value     one of these, in the object store: `fetch` brings it first

Invariant: `Reader.read` raises nothing but PenstockError, and each that it raises carries the record's id as `request_id`.
"""

import time
from collections.abc import Callable

import msgspec

from penstock import tracing
from penstock.dataplane import Context, InferRequest
from penstock.errors import DeadlineExceeded, InvalidInput, PenstockError, UnsupportedType
from penstock.protocol import v2
from penstock.protocol.limits import Limits
from penstock.serving.context import read_limits
from penstock_transformer.broker.records import Record
from penstock_transformer.http.json_rows import json_rows
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.requests import PredictRequest
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.cloud_events import STRUCTURED, Event, read_event
from penstock_transformer.worker.headers import by_name, id_of

ACCEPTED = "application/json, application/octet-stream, application/cloudevents+json"
_JSON, _BINARY = b"application/json", b"application/octet-stream"
_PLAIN = (None, b"", _JSON)
_LIMIT_NAMES = frozenset((names.TIMEOUT_MS, names.PRIORITY, names.EXPECT_BUNDLE))
_UTF8 = (b"", b"utf-8", b"utf8", b"us-ascii")

Request = PredictRequest | InferRequest


class _Kind(msgspec.Struct):
    """What tells the JSON bodies apart."""

    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    specversion: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_kind = msgspec.json.Decoder(_Kind).decode


class Reader:
    """Reads the records of one model's requests. `wall` and `clock` are s of the Unix epoch and of `time.monotonic()`."""

    def __init__(
        self,
        model: str,
        *,
        limits: Limits | None = None,
        way_in: WayInLimits | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._limits = limits or Limits()
        self._most_rows = (way_in or WayInLimits()).rows
        self._wall = wall
        self._clock = clock

    def read(self, record: Record, value: bytes | None) -> Request:
        """The request of a record whose value, or what it refers to, is `value`.

        Raises InvalidInput, TooLarge, UnsupportedType, and DeadlineExceeded if its time was over before it was read.
        """
        headers = by_name(record.headers)
        identity = id_of(record, headers)
        try:
            if not value:
                raise InvalidInput("expected a request, got a record without a value", field="body")
            if len(value) > self._limits.body_bytes:
                self._limits.check_body(len(value))
            if names.CONTENT_ENCODING in headers:
                _check_encoding(headers[names.CONTENT_ENCODING])
            kind = headers.get(names.CONTENT_TYPE)
            if kind not in _PLAIN:
                kind = _media_type(kind)
            if kind != STRUCTURED:
                try:
                    return self._request(value, kind, headers, self._context(record, identity, headers))
                except InvalidInput:
                    # CloudEvents' Python SDK 1.x writes its data's media type where the event's should be, or none.
                    if not _is_event(value):
                        raise
            event = read_event(value)
            identity, value, kind = _unwrapped(event, identity, headers)
            return self._request(value, kind, headers, self._context(record, identity, headers))
        except PenstockError as error:
            error.request_id = identity
            raise

    def _request(self, value: bytes, kind: bytes | None, headers: dict[str, bytes], context: Context) -> Request:
        length = headers.get(names.HEADER_LENGTH)
        if length is not None and (kind in _PLAIN or kind == _BINARY):
            return self._tensors(value, _header_length(length), context)
        if kind == _BINARY:
            raise InvalidInput(f"missing; expected how many bytes of {_BINARY.decode()} are JSON", field=names.HEADER_LENGTH)
        if kind not in _PLAIN:
            raise UnsupportedType(f"expected one of {ACCEPTED}, got {_shown(kind or b'')}", field=names.CONTENT_TYPE)
        if value[:9] == b'{"inputs"':
            return self._tensors(value, None, context)
        try:
            rows, options = json_rows(value, most_rows=self._most_rows)
        except InvalidInput as error:
            # Its own decoder says whether it is JSON at all, so what it cannot read is the predict body's error.
            if _has_inputs(value):
                return self._tensors(value, None, context)
            raise error from None
        return PredictRequest(self._model, context, rows=rows, options=options)

    def _tensors(self, value: bytes, header_length: int | None, context: Context) -> InferRequest:
        return v2.decode_request(
            value, model=self._model, version=None, context=context, header_length=header_length, limits=self._limits
        )

    def _context(self, record: Record, identity: str, headers: dict[str, bytes]) -> Context:
        if not headers:
            return Context(identity)
        trace = headers.get(names.TRACEPARENT) or headers.get("ce_traceparent")
        route_key = headers.get(names.ROUTE_KEY)
        context = Context(
            identity,
            traceparent=None if trace is None else tracing.child(trace),
            route_key=None if route_key is None else route_key.decode("utf-8", "replace"),
        )
        if not _LIMIT_NAMES.isdisjoint(headers):
            # As HTTP's reader looks them up: by names that are bytes.
            limits = {name.encode(): headers[name] for name in _LIMIT_NAMES if name in headers}
            timeout_s, context.priority, context.expect_bundle = read_limits(limits)
            context.deadline = None if timeout_s is None else self._deadline(record, timeout_s)
        return context

    def _deadline(self, record: Record, timeout_s: float) -> float:
        """Counted from the record's timestamp, and turned into our own clock's time here, once: steps of the wall clock between
        now and the answer change nothing. A timestamp that is to come, or missing, counts as now."""
        age_s = max(0.0, self._wall() - record.timestamp_ms / 1e3) if record.timestamp_ms >= 0 else 0.0
        if age_s >= timeout_s:
            raise DeadlineExceeded(f"the record was read {age_s - timeout_s:.3f} s after its deadline")
        return self._clock() + timeout_s - age_s


def _unwrapped(event: Event, identity: str, headers: dict[str, bytes]) -> tuple[str, bytes, bytes | None]:
    """An event's id, its data and their media type; what else it says goes to the headers, where it is not said already."""
    if event.traceparent:
        headers.setdefault(names.TRACEPARENT, event.traceparent.encode("utf-8", "replace"))
    if event.header_length is not None:
        headers.setdefault(names.HEADER_LENGTH, event.header_length.encode("utf-8", "replace"))
    kind = event.content_type.encode("utf-8", "replace")
    return event.id or identity, event.data, _media_type(kind) if kind not in _PLAIN else kind


def _has_inputs(value: bytes) -> bool:
    return _kind_of(value).inputs is not msgspec.UNSET


def _is_event(value: bytes) -> bool:
    return _kind_of(value).specversion is not msgspec.UNSET


def _kind_of(value: bytes) -> _Kind:
    try:
        return _kind(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _Kind()


def _media_type(content_type: bytes | None) -> bytes:
    """A media type without its parameters, in lower case. Raises UnsupportedType for text that is not UTF-8."""
    kind, _, parameters = (content_type or b"").partition(b";")
    for parameter in parameters.split(b";"):
        name, _, given = parameter.partition(b"=")
        if name.strip().lower() == b"charset" and given.strip().strip(b'"').lower() not in _UTF8:
            raise UnsupportedType(f"expected text in UTF-8, got charset {_shown(given.strip())}", field=names.CONTENT_TYPE)
    return kind.strip().lower()


def _check_encoding(encoding: bytes) -> None:
    if encoding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedType(f"expected no content encoding, got {_shown(encoding)}", field=names.CONTENT_ENCODING)


def _header_length(value: bytes) -> int:
    if value.isdigit() and len(value) < 16:
        return int(value)
    raise InvalidInput(f"expected a number of bytes, got {_shown(value)}", field=names.HEADER_LENGTH)


def _shown(value: bytes) -> str:
    return repr(value.decode("latin-1")[:80])
