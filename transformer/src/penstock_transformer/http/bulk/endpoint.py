"""The bulk form of `POST /models/{m}/predict`, over the web framework: its requests last, and their bodies do not fit into one.

Until the first answers are there, a fault is the request's status; from then on it is a line of the answer.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request, Response

from penstock.dataplane import Context
from penstock.errors import NotReady
from penstock.serving.asgi import single_headers
from penstock.serving.context import context_of
from penstock.serving.infer import check_encoding
from penstock.serving.shell import Reservation, Shell
from penstock_transformer.http.bulk.answer_lines import AnswerWriter, EventWriter, LineWriter
from penstock_transformer.http.bulk.batch import RowReader
from penstock_transformer.http.bulk.csv_reader import CsvReader
from penstock_transformer.http.bulk.forms import ARROW, CSV, EVENTS, JSON, form_in, form_out
from penstock_transformer.http.bulk.json_reader import JsonReader
from penstock_transformer.http.bulk.lines import LineReader
from penstock_transformer.http.bulk.resolving import Resolver
from penstock_transformer.http.bulk.run import BulkRun
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.http.plane import PredictPlane
from penstock_transformer.http.query import asked
from penstock_transformer.plan import FetchPlan


class BulkPredict:
    """The endpoint. One for all models of a transformer."""

    def __init__(self, transformer: PredictPlane, limits: WayInLimits) -> None:
        self._transformer = transformer
        self._limits = limits

    async def __call__(self, request: Request) -> Response:
        """Answers as a stream. Raises PenstockError for what is wrong with the request as a whole."""
        shell: Shell = request.app.state.shell
        started = time.monotonic()
        if shell.starting:
            raise NotReady("starting: the model is being loaded")
        headers = single_headers(request)
        context = _routed_as_one(context_of(headers, started))
        check_encoding(headers)
        model = str(request.path_params["model"])
        plan = self._transformer.plan(model)
        given = form_in(headers)
        wanted = form_out(headers, given)
        resolver = Resolver(self._transformer, model, context)
        resolver.options = asked(request.scope.get("query_string", b""))[1]
        reader = self._reader(given, plan, shell)
        run = BulkRun(_chunks(request), reader, _writer(wanted, reader), resolver, held=Reservation(shell))
        answer = BulkAnswer(request, run, model, started)
        try:
            await answer.run.first()
        except BaseException:
            await answer.run.close()
            raise
        answer.start(wanted)
        return answer

    def _reader(self, given: bytes, plan: FetchPlan | None, shell: Shell) -> RowReader:
        if given == CSV:
            return CsvReader(None if plan is None else plan.column_types)
        if given == JSON:
            return JsonReader(most_bytes=shell.limits.body_bytes, most_rows=self._limits.rows)
        if given == ARROW:
            from penstock_transformer.http.bulk.arrow_reader import ArrowReader

            return ArrowReader(plan, most_bytes=shell.limits.body_bytes)
        return LineReader()


def _writer(wanted: bytes, reader: RowReader) -> AnswerWriter:
    if wanted == EVENTS:
        return EventWriter(reader.unit)
    if wanted == ARROW:
        from penstock_transformer.http.bulk.arrow_writer import ArrowWriter

        return ArrowWriter()
    return LineWriter(reader.unit)


class BulkAnswer(Response):
    """A response whose body is a run's answers."""

    def __init__(self, request: Request, run: BulkRun, model: str, started: float) -> None:
        super().__init__()
        self.run = run
        self._request = request
        self._shell: Shell = request.app.state.shell
        self._model = model
        self._started = started

    def start(self, content_type: bytes) -> None:
        """Fix the header lines, now that it is known which bundle answers."""
        self._counters = self._shell.metrics.model(self._model, self.run.bundle)
        # Proxies that gather an answer before they pass it on would make the client, and so the upload, wait for ever.
        self.raw_headers = [(b"content-type", content_type), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        name, _, value = self._counters.header.strip().partition(b": ")
        if name:
            self.raw_headers.append((name, value))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        flying = self._shell.metrics.in_flight(self._model)
        flying.count += 1

        async def send_bytes(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self.run.write_to(send_bytes)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            flying.count -= 1
            await self.run.close()
            self._record()

    def _record(self) -> None:
        run, headers = self.run, single_headers(self._request)
        identity = headers.get(b"x-request-id", b"")
        self._shell.record(self._counters, self._started, run.bytes_in, run.bytes_out, run.failure, identity, headers)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, then nothing. Raises ClientDisconnect if the client leaves, behind the body's end too."""
    async for chunk in request.stream():
        if chunk:
            yield chunk


def _routed_as_one(context: Context) -> Context:
    """All batches of a request go to one bundle, as an ordinary request's rows do: by the caller's key, else one of its own."""
    if context.route_key is None:
        context.route_key = context.request_id
    return context
