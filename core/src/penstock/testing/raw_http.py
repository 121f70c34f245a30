"""HTTP as bytes on a socket, for what HTTP clients refuse to send: pipelines, garbage, half a request, lengths that lie."""

import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import orjson


@dataclass(frozen=True)
class RawAnswer:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        return orjson.loads(self.body)


class RawConnection:
    """A connection that sends what it is given and reads answers one by one. Every read has a deadline."""

    def __init__(self, port: int, *, timeout_s: float = 10.0, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.timeout_s = timeout_s
        self.sock.settimeout(timeout_s)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self._rest = b""

    def send(self, *parts: bytes) -> Self:
        self.sock.sendall(b"".join(parts))
        return self

    def answer(self, *, head: bool = False) -> RawAnswer:
        """The next answer; `head` for one to HEAD, which has no body. Raises EOFError if the server closes first."""
        raw_head = self._until(b"\r\n\r\n")
        lines = raw_head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        status = int(lines[0].split()[1])
        if status == 100 or head:
            return RawAnswer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return RawAnswer(status, headers, self._chunks())
        return RawAnswer(status, headers, self._exactly(int(headers.get("content-length", "0"))))

    def closed(self) -> bool:
        """Whether the server closes without sending more. Raises TimeoutError if it does neither."""
        if self._rest:
            return False
        try:
            self._rest = self.sock.recv(65536)
        except ConnectionResetError:
            return True
        return not self._rest

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(f"the server closed after {self._rest[:200]!r}")
        self._rest += data

    def _until(self, mark: bytes) -> bytes:
        deadline = time.monotonic() + self.timeout_s
        while mark not in self._rest:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {mark!r} in {self._rest[:200]!r}")
            self._more()
        found, _, self._rest = self._rest.partition(mark)
        return found

    def _exactly(self, length: int) -> bytes:
        while len(self._rest) < length:
            self._more()
        found, self._rest = self._rest[:length], self._rest[length:]
        return found

    def _chunks(self) -> bytes:
        parts = []
        while length := int(self._until(b"\r\n"), 16):
            parts.append(self._exactly(length))
            self._exactly(2)
        self._exactly(2)
        return b"".join(parts)


def raw_request(method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    """A plain HTTP/1.1 request as bytes, with a Content-Length if it has a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def infer_body(values: list[float], name: str = "x", id: str | None = None) -> bytes:
    """A v2 JSON body with one FP32 row."""
    request: dict[str, object] = {"inputs": [{"name": name, "datatype": "FP32", "shape": [1, len(values)], "data": values}]}
    if id is not None:
        request["id"] = id
    return orjson.dumps(request)
