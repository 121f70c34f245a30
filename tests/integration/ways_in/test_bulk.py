"""Bulk predict over a real server: forms both ways, uploads of any length in flat memory, back-pressure."""

import io
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from penstock.testing.server import ServerProcess

PREDICT = "/models/flights/predict"
NDJSON = {"content-type": "application/x-ndjson"}
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
ROWS: list[dict[str, Any]] = [{"distance": 3.5, "carrier": "UA"}, {"distance": "far"}, {"distance": 0, "stops": 2}]


def body_of(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def test_a_line_a_row_and_bad_ones_by_line_and_field(http: httpx.Client) -> None:
    answer = http.post(PREDICT, content=body_of(ROWS) + "\n[1]\n", headers=NDJSON)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.headers["penstock-bundle"].startswith("flights@sha256:")
    first, second, third, fourth = (json.loads(line) for line in answer.text.splitlines())
    wanted = http.post(PREDICT, json={"rows": [ROWS[0], ROWS[2]]}).json()["predictions"]
    assert [first, third] == wanted
    assert (second["line"], second["field"], second["status"]) == (2, "distance", 400)
    assert (fourth["line"], fourth["kind"]) == (5, "invalid_input")


def test_every_form_in_and_every_form_out_agree(http: httpx.Client) -> None:
    rows = [{"distance": 3.5, "carrier": "UA"}, {"distance": 7.0, "carrier": "AA"}]
    table = pa.RecordBatch.from_pylist(rows)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_batch(table)
    bodies: list[tuple[Any, str]] = [
        (body_of(rows), "application/x-ndjson"),
        (out.getvalue(), "application/vnd.apache.arrow.stream"),
        ("distance,carrier\n3.5,UA\n7,AA\n", "text/csv"),
        (json.dumps({"rows": rows}), "application/json"),
    ]
    wanted = [one["scores"] for one in http.post(PREDICT, json={"rows": rows}).json()["predictions"]]
    for body, kind in bodies:
        for accept in ("application/x-ndjson", "application/vnd.apache.arrow.stream", "text/event-stream"):
            answer = http.post(f"{PREDICT}?data=false", content=body, headers={"content-type": kind, "accept": accept})
            assert (answer.status_code, answer.headers["content-type"]) == (200, accept), answer.text
            assert scores(answer) == wanted, (kind, accept)


def scores(answer: httpx.Response) -> list[dict[str, float]]:
    kind = answer.headers["content-type"]
    if kind == "application/vnd.apache.arrow.stream":
        return [row["scores"] for row in pa.ipc.open_stream(answer.content).read_all().to_pylist()]
    if kind == "text/event-stream":
        data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
        assert data.pop() == "{}"
        return [json.loads(line)["scores"] for line in data]
    return [json.loads(line)["scores"] for line in answer.text.splitlines()]


@pytest.mark.parametrize(
    "path, content, headers, status, field",
    [
        ("/models/nobody/predict", "{}", NDJSON, 404, "model"),
        (PREDICT, "{}", {**NDJSON, "accept": "image/png"}, 415, "Accept"),
        (PREDICT, "{}", {**NDJSON, "content-encoding": "gzip"}, 415, "Content-Encoding"),
        (f"{PREDICT}?bogus=1", "{}", NDJSON, 400, "options.bogus"),
        (f"{PREDICT}?bogus=1", '{"rows": []}', {"content-type": "application/json"}, 400, "options.bogus"),
        (PREDICT, "{}", {**NDJSON, "penstock-expect-bundle": "sha256:" + "0" * 64}, 412, None),
        (PREDICT, "{}", {**NDJSON, "penstock-priority": "high"}, 400, "Penstock-Priority"),
        (PREDICT, b"junk" * 10, ARROW, 400, "body"),
    ],
)
def test_what_is_wrong_with_the_whole_request_is_its_status(
    http: httpx.Client, path: str, content: Any, headers: dict[str, str], status: int, field: str | None
) -> None:
    answer = http.post(path, content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json().get("field") == field


def test_answers_come_while_rows_are_still_sent(server: ServerProcess) -> None:
    with Upload(server) as upload:
        upload.send(b'{"distance": 1}\n')
        upload.receive_past(b'"label"')
        upload.send(b'{"distance": 2}\n')
        upload.receive_past(b'"label"')
        upload.end()
        assert upload.receive_until(b"0\r\n\r\n").endswith(b"0\r\n\r\n")


def ndjson_pieces() -> tuple[bytes, bytes, bytes]:
    """The beginning of a body, a thousand rows of it, which may come again and again, and its end."""
    return b"", b'{"distance":3.5,"carrier":"UA","stops":1,"leaves":7200}\n' * 1000, b""


def arrow_pieces() -> tuple[bytes, bytes, bytes]:
    # Long values and many defaults, so that neither kernel's buffers hold all that is asked or answered.
    batch = pa.RecordBatch.from_pylist([{"distance": 3.5, "tailnum": "N" * 80}] * 1000)
    return batch.schema.serialize().to_pybytes(), batch.serialize().to_pybytes(), b"\xff\xff\xff\xff\x00\x00\x00\x00"


def ndjson_rows(body: bytes) -> int:
    return body.count(b'"ages_s"')


def arrow_rows(body: bytes) -> int:
    return sum(batch.num_rows for batch in pa.ipc.open_stream(body))


@pytest.mark.parametrize(
    "kind, pieces, rows",
    [(NDJSON["content-type"], ndjson_pieces, ndjson_rows), (ARROW["content-type"], arrow_pieces, arrow_rows)],
)
def test_a_huge_upload_takes_no_memory_and_stops_while_nobody_reads(
    server: ServerProcess, kind: str, pieces: Callable[[], tuple[bytes, bytes, bytes]], rows: Callable[[bytes], int]
) -> None:
    begin, block, end = pieces()
    blocks = 150
    with Upload(server, kind) as upload:
        before = resident(server)
        sent = threading.Semaphore(0)

        def feed() -> None:
            for number in range(blocks):
                upload.send(begin + block if number == 0 else block)
                sent.release()
            if end:
                upload.send(end)
            upload.end()

        feeding = threading.Thread(target=feed, daemon=True)
        feeding.start()
        taken = 0
        while sent.acquire(timeout=1):  # ends when the server has stopped reading
            taken += 1
        assert taken < blocks
        assert resident(server) - before < 30 * 2**20
        answer = upload.receive_until(b"0\r\n\r\n")
        feeding.join(20)
        assert rows(dechunked(answer)) == blocks * 1000
        assert resident(server) - before < 30 * 2**20


def dechunked(answer: bytes) -> bytes:
    """The body of a chunked answer (RFC 9112, 7.1)."""
    rest = memoryview(answer)[answer.index(b"\r\n\r\n") + 4 :]
    parts = []
    while True:
        line = bytes(rest[:20]).partition(b"\r\n")[0]
        length, begin = int(line, 16), len(line) + 2
        if not length:
            return b"".join(parts)
        parts.append(bytes(rest[begin : begin + length]))
        rest = rest[begin + length + 2 :]


def test_a_client_that_leaves_harms_nobody(server: ServerProcess, http: httpx.Client) -> None:
    with Upload(server) as upload:
        upload.send(b'{"distance": 1}\n' * 2000)
    assert http.post(PREDICT, content=body_of(ROWS), headers=NDJSON).status_code == 200


class Upload:
    """A chunked request on a socket of its own, sent and read at the same time."""

    def __init__(self, server: ServerProcess, kind: str = NDJSON["content-type"]) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(30)
        # Small buffers of the kernel's: the server's own bounds are what is looked at.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.sendall(
            b"POST /models/flights/predict?data=false HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % kind.encode()
        )

    def send(self, data: bytes) -> None:
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    def receive_until(self, mark: bytes) -> bytes:
        parts = [b""]
        while not (parts[-1][-8:] if len(parts[-1]) >= 8 else b"".join(parts[-3:])).endswith(mark):
            part = self.socket.recv(1 << 16)
            assert part, "the server closed"
            parts.append(part)
        return b"".join(parts)

    def receive_past(self, word: bytes) -> None:
        found = b""
        while word not in found:
            part = self.socket.recv(1 << 16)
            assert part, "the server closed"
            found += part

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def resident(server: ServerProcess) -> int:
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module", autouse=True)
def warm(http: httpx.Client) -> None:
    """What is imported and cached on first use is not what the memory tests are about."""
    for _ in range(3):
        http.post(PREDICT, content=body_of(ROWS[:1]) * 5000, headers=NDJSON)
        begin, block, end = arrow_pieces()
        http.post(PREDICT, content=begin + block * 5 + end, headers=ARROW)
