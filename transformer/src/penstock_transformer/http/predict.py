"""The predict routes: `POST /models/{m}/predict` in every form that a body may have, and `GET /predict/{record id}`.

    JSON ------------------------------------------> rows --> Transformer.predict
    CSV, form, image --(a thread if it is large)---> rows --^

The JSON form is the hot one: nothing on its way allocates more than the request and its context. The other forms take the time
that they take, off the event loop from `inline_bytes` on, within a budget of bodies and bytes.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from penstock.dataplane import Context
from penstock.errors import Overloaded, PenstockError, TooLarge, UnsupportedType
from penstock.serving.context import read_context
from penstock.serving.early import EarlyRefusals
from penstock.serving.exchange import Exchange
from penstock.serving.faults import fault
from penstock.serving.infer import refuse_encoding
from penstock_transformer.http.answers import ExchangeReply
from penstock_transformer.http.csv_rows import Types, csv_rows
from penstock_transformer.http.forms import form_rows
from penstock_transformer.http.json_rows import json_rows
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.http.plane import PredictPlane, chosen_model
from penstock_transformer.http.prefer import NONE, Preference, read_prefer
from penstock_transformer.http.query import asked
from penstock_transformer.requests import PredictRequest, Row

logger = logging.getLogger(__name__)

_JSON = (None, b"application/json")
ACCEPTED = (
    "application/json, application/x-ndjson, application/vnd.apache.arrow.stream, text/csv, multipart/form-data, "
    "image/png, image/jpeg"
)
Parse = Callable[[], list[Row]]


class Later(Protocol):
    """Takes over a predict request that is to be answered by an id; more than `async_rows` rows are, unless the caller waits."""

    @property
    def async_rows(self) -> int: ...

    def instead(self, exchange: Exchange, context: Context, preference: Preference) -> None: ...


class PredictWays:
    """The handlers of the predict routes over one transformer. `later` None: everything is answered at once."""

    def __init__(self, transformer: PredictPlane, limits: WayInLimits | None = None, later: Later | None = None) -> None:
        self._transformer = transformer
        self._later = later
        self._limits = limits or WayInLimits()
        self._predict = transformer.predict
        self._early = EarlyRefusals.of(transformer)
        self._pressure = self._early.pressure
        self._most_rows = self._limits.rows
        self._parsing = 0
        self._parsing_bytes = 0
        self._tasks: set[asyncio.Future[Any]] = set()

    def post(self, exchange: Exchange) -> None:
        """`POST /models/{m}/predict`. Raises PenstockError for what is wrong with the request."""
        context = read_context(exchange)
        headers = exchange.headers
        later = self._later
        if later is not None and b"prefer" in headers and (preference := read_prefer(headers[b"prefer"])).respond_async:
            later.instead(exchange, context, preference)
            return
        if self._pressure.batchers:
            self._early.check(exchange, context)
        if b"content-encoding" in headers:
            refuse_encoding(exchange)
        if headers.get(b"content-type") not in _JSON:
            self._post_other(exchange, context)
            return
        model = exchange.params[0]
        rows, options = json_rows(exchange.body, most_rows=self._most_rows)
        if exchange.query:
            options = (options or {}) | (asked(exchange.query)[1] or {})
        if later is not None and len(rows) > later.async_rows:
            self._predict_many(PredictRequest(model, context, rows=rows, options=options), rows, exchange)
            return
        self._predict(PredictRequest(model, context, rows=rows, options=options), ExchangeReply(exchange, model))

    def get(self, exchange: Exchange) -> None:
        """`GET /predict/{record id}[?model=m]`. Raises PenstockError for what is wrong with the request."""
        context = read_context(exchange)
        model, options = asked(exchange.query, model_allowed=True)
        model = chosen_model(self._transformer, model)
        request = PredictRequest(model, context, options=options, record_id=exchange.params[0])
        self._predict(request, ExchangeReply(exchange, model))

    def _post_other(self, exchange: Exchange, context: Context) -> None:
        """A body in another form than plain JSON, by its content type."""
        content_type = exchange.header(b"content-type") or b""
        kind = content_type.partition(b";")[0].strip().lower()
        body = exchange.body
        model = exchange.params[0]
        # curl -d names its JSON a form; nothing that starts with a brace is one.
        if kind == b"application/json" or (kind == b"application/x-www-form-urlencoded" and body.lstrip()[:1] == b"{"):
            rows, options = json_rows(body, most_rows=self._most_rows)
            options = (options or {}) | (asked(exchange.query)[1] or {})
            self._predict_many(PredictRequest(model, context, options=options), rows, exchange)
            return
        options = asked(exchange.query)[1]
        parse = self._parser(kind, content_type, body, self._types(model))
        self._parse(parse, len(body), PredictRequest(model, context, options=options), exchange)

    def _parser(self, kind: bytes, content_type: bytes, body: bytes, types: Types | None) -> Parse:
        limits = self._limits
        if kind == b"text/csv":
            return lambda: csv_rows(body, types, most_rows=limits.rows)
        if kind == b"multipart/form-data":
            return lambda: form_rows(body, content_type, types, limits)
        if kind in (b"image/png", b"image/jpeg"):
            return lambda: image_rows(body, types, limits)
        shown = kind.decode("latin-1")[:80].encode("unicode_escape").decode()
        raise UnsupportedType(f"expected one of {ACCEPTED}, got {shown}", field="Content-Type")

    def _parse(self, parse: Parse, size: int, request: PredictRequest, exchange: Exchange) -> None:
        """Parse a body, here or in a thread, and go on with its rows."""
        if size <= self._limits.inline_bytes:
            self._predict_many(request, parse(), exchange)
            return
        if self._parsing >= self._limits.parsing or (self._parsing and self._parsing_bytes + size > self._limits.parsing_bytes):
            raise Overloaded("too many large bodies are being parsed", retry_after_s=1.0)
        self._parsing += 1
        self._parsing_bytes += size

        def parsed(future: "asyncio.Future[list[Row]]") -> None:
            self._tasks.discard(future)
            self._parsing -= 1
            self._parsing_bytes -= size
            self._go_on(future, request, exchange)

        future = asyncio.get_running_loop().run_in_executor(None, parse)
        self._tasks.add(future)
        future.add_done_callback(parsed)

    def _go_on(self, future: "asyncio.Future[list[Row]]", request: PredictRequest, exchange: Exchange) -> None:
        """Rows have come back from a thread: predict them, or answer with what was wrong."""
        error = None if future.cancelled() else future.exception()
        if isinstance(error, PenstockError):
            exchange.fail(error)
        elif error is not None or future.cancelled():
            exchange.fail(fault(logger, "body could not be parsed", error, request.context.request_id))
        else:
            self._predict_many(request, future.result(), exchange)

    def _predict_many(self, request: PredictRequest, rows: list[Row], exchange: Exchange) -> None:
        """Predict however many rows there are; too many for a caller who does not say that he waits are answered by an id."""
        later = self._later
        if later is not None and len(rows) > later.async_rows and not read_prefer(exchange.header(b"prefer")).wait:
            later.instead(exchange, request.context, NONE)
            return
        request.rows = rows
        self._predict(request, ExchangeReply(exchange, request.model))

    def _types(self, model: str) -> Types | None:
        plan = self._transformer.plan(model)
        return None if plan is None else plan.column_types


def image_rows(body: bytes, types: Types | None, limits: WayInLimits) -> list[Row]:
    """The one row of a body that is an image. Raises InvalidInput unless the bundle takes exactly one image."""
    names = [name for name, kind in (types or {}).items() if kind == "image"]
    if len(names) != 1:
        wanted = f"has {len(names)} of them; send multipart/form-data" if names else "takes none"
        raise UnsupportedType(f"an image body needs a model with one image feature, this one {wanted}", field="Content-Type")
    if len(body) > limits.image_bytes:
        raise TooLarge(f"expected at most {limits.image_bytes} bytes, got {len(body)}", field=f"rows[0].{names[0]}")
    return [{names[0]: body}]
