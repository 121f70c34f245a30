"""A prediction as a record: the answer in the form that its request had, to the request's own partition number.

    PredictResponse -> predict JSON        InferResponse -> v2 JSON, or v2 binary where the request asks for that

A prediction is a CloudEvent in binary mode whatever its request was, with the request's key, id and trace, the bundle that made
it and the position it answers.

Invariant: of two answers to one record the bytes differ by `ce_time` and the trace's span alone.
"""

import time

from penstock.dataplane import InferRequest, InferResponse
from penstock.protocol import v2
from penstock_transformer.broker.records import Headers, OutRecord, Record
from penstock_transformer.http.answers import encode_answer
from penstock_transformer.requests import PredictResponse
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.headers import moment_of

_JSON = (names.CONTENT_TYPE, b"application/json")
_BINARY = (names.CONTENT_TYPE, b"application/octet-stream")


class Writer:
    """Writes the predictions of one model to `topic`."""

    __slots__ = ("_bundle", "_label", "_ms", "_source", "_time", "_topic", "_type", "_version")

    def __init__(self, model: str, topic: str) -> None:
        self._topic = topic
        self._version = (names.SPECVERSION, b"1.0")
        self._source = (names.SOURCE, f"/models/{model}".encode())
        self._type = (names.TYPE, names.MADE.encode())
        self._label = ""
        self._bundle = (names.BUNDLE, b"")
        self._ms = 0
        self._time = (names.TIME, b"")

    def rows(self, record: Record, response: PredictResponse, identity: str, trace: str | None) -> OutRecord:
        """The answer to rows. Raises TypeError for what JSON cannot hold."""
        return self._record(record, encode_answer(response), response.bundle, identity, trace, (_JSON,))

    def tensors(
        self, record: Record, response: InferResponse, request: InferRequest, identity: str, trace: str | None
    ) -> OutRecord:
        """The answer to tensors. Raises InvalidInput for an output that must be asked for as binary."""
        body, header_length = v2.encode_response(response, request)
        form: Headers = (_JSON,) if header_length is None else (_BINARY, (names.HEADER_LENGTH, b"%d" % header_length))
        return self._record(record, body, response.bundle, identity, trace, form)

    def _record(self, record: Record, value: bytes, bundle: str, identity: str, trace: str | None, form: Headers) -> OutRecord:
        if bundle is not self._label:
            self._label = bundle
            self._bundle = (names.BUNDLE, bundle.encode())
        position = (names.POSITION, record.position.encode())
        headers: Headers = (
            self._version, (names.ID, identity.encode()), self._source, self._type, self._now(), *form, self._bundle, position
        )  # fmt: skip
        if trace is not None:
            headers = (*headers, (names.TRACEPARENT, trace.encode()))
        replayed = record.header(names.REPLAYED)
        if replayed is not None:  # the sink then knows that this may follow a failure
            headers = (*headers, (names.REPLAYED, replayed))
        return OutRecord(self._topic, record.key, value, headers, record.partition.number)

    def _now(self) -> tuple[str, bytes]:
        """The time, written out once a millisecond: the answers of a batch come together."""
        now = time.time()
        ms = int(now * 1e3)
        if ms != self._ms:
            self._ms = ms
            self._time = (names.TIME, moment_of(now))
        return self._time
