"""The client for ordinary code: each verb builds a Call, and one loop sends it until `Attempts` says that it is done."""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
import numpy.typing as npt

from penstock.client import bulk, inferring, predicting, tracking
from penstock.client.call import Answer, Call, CallOptions, option_headers
from penstock.client.results import (
    AsyncPrediction,
    AsyncPredictionPage,
    ImportReport,
    Inference,
    Prediction,
    Predictions,
    Record,
    RecordPage,
    RefusedRow,
)
from penstock.client.retrying import Attempts, Fault, RetryPolicy
from penstock.client.tracking import Looks
from penstock.client.transport import answer_of, checked_url, fault_of, standing_headers, timeouts
from penstock.dataplane import ModelMetadata
from penstock.errors import PenstockError

T = TypeVar("T")


class Client:
    """A Penstock server at `url`. Safe to use from several threads; close it, or use it as a context manager.

    `timeout_s` bounds each call with its retries and is sent to the server as its deadline; None for no limit. `headers` go with
    every request, `token` as `Authorization: Bearer`. `http` is an httpx client of your own (certificates, proxies), which stays
    yours to close. Every method raises what the server says as errors of `penstock.errors`, and UpstreamUnavailable or
    DeadlineExceeded where it says nothing; every method takes CallOptions by keyword.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        timeout_s: float | None = 30.0,
        retry: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self.url = checked_url(url)
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()
        self._headers = standing_headers(headers, token)
        self._own = http is None
        self._http = http or httpx.Client()

    def predict(
        self, model: str, rows: Sequence[Mapping[str, Any]], *, data: bool = True, **options: Unpack[CallOptions]
    ) -> Predictions:
        """Predict for rows of features and keys, by name. `data` False leaves the features out of the answer."""
        return self._run(predicting.predict(model, rows, data), options)

    def predict_body(self, model: str, body: bytes, content_type: str, **options: Unpack[CallOptions]) -> Predictions:
        """Predict for a body as it is: `text/csv`, `image/png`, `image/jpeg` or `application/json`."""
        return self._run(predicting.predict_body(model, body, content_type), options)

    def predict_record(
        self, record_id: str, *, model: str | None = None, data: bool = True, **options: Unpack[CallOptions]
    ) -> Predictions:
        """Predict for a stored record; `model` is needed where several are served. Raises NotFound."""
        return self._run(predicting.predict_record(record_id, model, data), options)

    def predict_many(
        self,
        model: str,
        rows: Iterable[Mapping[str, Any]],
        *,
        rows_per_request: int = bulk.ROWS_PER_REQUEST,
        data: bool = False,
        **options: Unpack[CallOptions],
    ) -> Iterator[Prediction | RefusedRow]:
        """Predictions of any number of rows, in their order and in bounded memory; a wrong row is told and spoils no other.

        `timeout_s` is for each request of `rows_per_request` rows.
        """
        for first, chunk in bulk.chunks(rows, rows_per_request):
            yield from self._run(bulk.predict_lines(model, chunk, first, data), options)

    def infer(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        outputs: Sequence[str] | None = None,
        version: str | None = None,
        id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        binary: bool = True,
        **options: Unpack[CallOptions],
    ) -> Inference:
        """Tensors in, tensors out (Open Inference Protocol v2). `binary` False sends and asks for JSON."""
        call = inferring.infer(model, inputs, outputs=outputs, version=version, id=id, parameters=parameters, binary=binary)
        return self._run(call, options)

    def metadata(self, model: str, *, version: str | None = None, **options: Unpack[CallOptions]) -> ModelMetadata:
        """The model's inputs and outputs, its versions and its bundle."""
        return self._run(inferring.metadata(model, version), options)

    def models(self, **options: Unpack[CallOptions]) -> Sequence[str]:
        """Names of the models that are served."""
        return self._run(inferring.models(), options)

    def record(self, record_id: str, *, model: str | None = None, **options: Unpack[CallOptions]) -> Record:
        """A stored record. Raises NotFound."""
        return self._run(predicting.get_record(record_id, model), options)

    def create_record(
        self,
        values: Mapping[str, Any],
        *,
        id: str | None = None,
        event_time: datetime | None = None,
        model: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Record:
        """Store a new record; the server makes an id if none is given. Raises Conflict if the id is taken."""
        return self._run(predicting.create_record(values, id, event_time, model), options)

    def put_record(
        self,
        record_id: str,
        values: Mapping[str, Any],
        *,
        event_time: datetime | None = None,
        model: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Record:
        """Store a record whole. Raises Conflict if what the store holds is newer than `event_time`."""
        return self._run(predicting.put_record(record_id, values, event_time, model), options)

    def delete_record(self, record_id: str, *, model: str | None = None, **options: Unpack[CallOptions]) -> None:
        """Remove a record. Raises NotFound."""
        self._run(predicting.delete_record(record_id, model), options)

    def records(
        self, *, cursor: str | None = None, limit: int = 100, model: str | None = None, **options: Unpack[CallOptions]
    ) -> RecordPage:
        """A page of the records."""
        return self._run(predicting.list_records(cursor, limit, model), options)

    def import_records(self, csv: bytes, *, model: str | None = None, **options: Unpack[CallOptions]) -> ImportReport:
        """Store the rows of a CSV; what cannot be stored is told in the report, row by row."""
        return self._run(predicting.import_records(csv, model), options)

    def submit(
        self,
        model: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncPrediction:
        """Hand in rows to be predicted later; the id in the answer is good on every transport and after a restart."""
        return self._run(tracking.submit(model, rows, idempotency_key), options)

    def submit_body(
        self, model: str, body: bytes, content_type: str, *, idempotency_key: str | None = None, **options: Unpack[CallOptions]
    ) -> AsyncPrediction:
        """Hand in a body as it is, in any form that `predict_body` takes."""
        return self._run(tracking.submit_body(model, body, content_type, idempotency_key), options)

    def prediction(self, id: str, **options: Unpack[CallOptions]) -> AsyncPrediction:
        """How an asynchronous prediction stands. Raises NotFound."""
        return self._run(tracking.look(id), options)

    def predictions(
        self,
        *,
        model: str | None = None,
        state: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
        **options: Unpack[CallOptions],
    ) -> AsyncPredictionPage:
        """A page of your asynchronous predictions, newest first; `after` and `before` are when they were handed in."""
        return self._run(tracking.find(model, state, after, before, cursor, limit), options)

    def cancel(self, id: str, **options: Unpack[CallOptions]) -> AsyncPrediction:
        """Cancel an asynchronous prediction that has not ended."""
        return self._run(tracking.cancel(id), options)

    def wait(self, id: str, *, timeout_s: float | None = None) -> AsyncPrediction:
        """Wait until an asynchronous prediction has ended. Raises DeadlineExceeded; the prediction goes on."""
        looks = Looks(timeout_s)
        while not (found := self._run(tracking.look(id, looks.look_s(self._timeout_s)), {})).done:
            time.sleep(looks.pause_s())
        return found

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self, call: Call[T], options: CallOptions) -> T:
        headers = {"x-request-id": uuid.uuid4().hex, **self._headers, **call.headers, **option_headers(options)}
        attempts = Attempts(call, self._retry, options.get("timeout_s", self._timeout_s))
        try:
            while True:
                outcome = self._send(call, headers | attempts.headers(), attempts)
                if isinstance(outcome, Answer):
                    wait_s = attempts.answered(outcome)
                    if wait_s is None:
                        return call.read(outcome)
                else:
                    wait_s = attempts.failed(*outcome)
                time.sleep(wait_s)
        except PenstockError as error:
            error.request_id = error.request_id or headers["x-request-id"]
            raise

    def _send(self, call: Call[Any], headers: Mapping[str, str], attempts: Attempts) -> Answer | tuple[Fault, str]:
        """One try. A server that sends its answer slowly is left at the deadline, or at the first silence behind it."""
        limits = timeouts(attempts.remaining_s())
        try:
            with self._http.stream(
                call.method, self.url + call.path, content=call.body, headers=headers, timeout=limits
            ) as response:
                chunks: list[bytes] = []
                for chunk in response.iter_bytes():
                    attempts.remaining_s()
                    chunks.append(chunk)
                return answer_of(response, b"".join(chunks))
        except httpx.HTTPError as error:
            return fault_of(error)
