"""What is fuzzed: one function a decoder, which takes any bytes and must end in an answer or in an error of the caller's.

    decoders alone    v2_json, v2_binary, v1, grpc, headers, features, kafka: only a PenstockError that blames the caller
    the whole server  http, websocket, predict, csv, multipart, ndjson, arrow, image: no status of 500, no hang, no fault logged

`TARGETS` maps a name to the function that makes one; making it may take a second.
"""

import logging
from collections.abc import Callable

from memory_server import MemoryServer

from penstock.dataplane import Context
from penstock.errors import ErrorKind, PenstockError
from penstock.features.reading import read_spec
from penstock.protocol import v1, v2
from penstock.protocol.grpc.decoding import decode_request as decode_grpc
from penstock.protocol.limits import Limits
from penstock.serving.context import read_context
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.worker import headers as kafka_headers
from penstock_transformer.worker.dead_letters import read_letter
from penstock_transformer.worker.reading import Reader

Target = Callable[[bytes], None]
LIMITS = Limits(body_bytes=1 << 20)
CALLERS_FAULT = {ErrorKind.INVALID_INPUT, ErrorKind.TOO_LARGE, ErrorKind.UNSUPPORTED_TYPE}
HEAD = "POST {path} HTTP/1.1\r\nHost: fuzz\r\nContent-Type: {kind}\r\n{more}Content-Length: {length}\r\n\r\n"
FLIGHTS = "/models/flights/predict"


class Broken(Exception):
    """An answer that no input may bring about."""


def only_callers_fault(decode: Callable[[bytes], object]) -> Target:
    """A decoder may refuse, but only by saying what is wrong with the input."""

    def target(data: bytes) -> None:
        try:
            decode(data)
        except PenstockError as error:
            if error.kind not in CALLERS_FAULT:
                raise

    return target


def v2_json() -> Target:
    context = Context("fuzz")
    return only_callers_fault(
        lambda data: v2.decode_request(data, model="m", version=None, context=context, header_length=None, limits=LIMITS)
    )


def v2_binary() -> Target:
    """The first two bytes are the header's length, which may lie."""
    context = Context("fuzz")

    def decode(data: bytes) -> object:
        length = int.from_bytes(data[:2], "little")
        return v2.decode_request(data[2:], model="m", version=None, context=context, header_length=length, limits=LIMITS)

    return only_callers_fault(decode)


def v1_json() -> Target:
    return only_callers_fault(lambda data: v1.decode_instances(data, limits=LIMITS))


def grpc() -> Target:
    context = Context("fuzz")
    return only_callers_fault(lambda data: decode_grpc(data, context=context, limits=LIMITS))


def features() -> Target:
    return only_callers_fault(lambda data: read_spec(data.decode("utf-8", "replace")))


class _Faults(logging.Handler):
    """Keeps the last log line that says the program itself failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.last = self.format(record)


class Whole:
    """The server in memory, and the verdict on what it answered."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.faults = _Faults()
        logging.getLogger().addHandler(self.faults)
        logging.getLogger("penstock").setLevel(logging.ERROR)

    def send(self, *pieces: bytes) -> bytes:
        answer = self.server.ask(*pieces)
        if self.faults.last is not None:
            raise Broken(self.faults.last)
        if any(status >= 500 for status in answer.statuses):
            raise Broken(bytes(answer.written[:2000]))
        return bytes(answer.written)


def body(path: str, kind: str, more: str = "") -> Callable[[], Target]:
    """Targets that are a request's body: the head is always right."""

    def make() -> Target:
        whole = Whole()

        def target(data: bytes) -> None:
            head = HEAD.format(path=path, kind=kind, more=more, length=len(data)).encode()
            written = whole.send(head + data)
            if not written.startswith(b"HTTP/1.1 "):
                raise Broken("no answer to a whole request")

        return target

    return make


def http() -> Target:
    """A connection's bytes in pieces: the first two bytes say where it is cut."""
    whole = Whole()

    def target(data: bytes) -> None:
        if len(data) < 3:
            return
        first, second, stream = data[0], data[1], data[2:]
        cut = min(first * 4, len(stream))
        end = min(cut + second, len(stream))
        whole.send(*(piece for piece in (stream[:cut], stream[cut:end], stream[end:]) if piece))

    return target


def websocket() -> Target:
    """What a client sends on a stream once it is open."""
    whole = Whole()
    head = (
        b"GET /v2/models/flights/stream HTTP/1.1\r\nHost: fuzz\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    def target(data: bytes) -> None:
        if b" 101 " not in whole.send(head, data)[:20]:
            raise Broken("the stream did not open")

    return target


def headers() -> Target:
    """The values of the headers that we read ourselves."""

    class Given:
        request_id = b""
        started = 0.0

        def __init__(self, data: bytes) -> None:
            names = (b"x-request-id", b"traceparent", b"penstock-timeout-ms", b"penstock-priority", b"penstock-expect-bundle")
            self.headers = dict(zip(names, data.split(b"\n"), strict=False))

    return only_callers_fault(lambda data: read_context(Given(data)))  # type: ignore[arg-type]


def kafka() -> Target:
    """A record of a request: up to an empty line the values of the headers that we read, a line each; then its value."""
    names = (
        *(kafka_headers.CONTENT_TYPE, kafka_headers.HEADER_LENGTH, kafka_headers.ID, kafka_headers.TRACEPARENT),
        *(kafka_headers.TIMEOUT_MS, kafka_headers.PRIORITY, kafka_headers.ROUTE_KEY, kafka_headers.EXPECT_BUNDLE),
    )
    reader = Reader("m", limits=LIMITS, wall=lambda: 0.0)

    def decode(data: bytes) -> object:
        head, _, value = data.partition(b"\n\n")
        given = tuple(zip(names, head.split(b"\n"), strict=False))
        record = Record(Partition("m.requests", 0), 0, 0, None, value, tuple(pair for pair in given if pair[1]))
        read_letter(record)
        return reader.read(record, value)

    return only_callers_fault(decode)


TARGETS: dict[str, Callable[[], Target]] = {
    "v2_json": v2_json,
    "v2_binary": v2_binary,
    "v1": v1_json,
    "grpc": grpc,
    "headers": headers,
    "features": features,
    "kafka": kafka,
    "http": http,
    "websocket": websocket,
    "predict": body(FLIGHTS, "application/json"),
    "csv": body(FLIGHTS, "text/csv"),
    "multipart": body(FLIGHTS, "multipart/form-data; boundary=b"),
    "ndjson": body(FLIGHTS, "application/x-ndjson"),
    "arrow": body(FLIGHTS, "application/vnd.apache.arrow.stream"),
    "image": body("/models/pictures/predict", "image/png"),
}
