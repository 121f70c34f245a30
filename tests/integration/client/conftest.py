"""The all-in-one server for the clients, and a server that answers by a script."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from penstock.testing.flights import serve_flights
from penstock.testing.server import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve_flights(tmp_path_factory.mktemp("client")) as running:
        yield running


@dataclass
class Scripted:
    """Answers each connection with the next piece of its script; "" closes it without a byte, None leaves that to the client."""

    script: list[str | None]
    heads: list[str] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        for piece in self.script:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                break
            self.heads.append(self.read_head(connection).lower())
            if piece is None:
                connection.recv(1)
            else:
                connection.sendall(piece.encode())
            connection.close()
        self.listener.close()

    def read_head(self, connection: socket.socket) -> str:
        """The request's head, after its body was read too: closing on unread bytes would reset the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
        left = int(lines.get("content-length", "0")) - len(body)
        while left > 0:
            left -= len(connection.recv(65536))
        return head.decode()

    def header(self, at: int, name: str) -> str | None:
        lines = dict(line.split(": ", 1) for line in self.heads[at].split("\r\n")[1:])
        return lines.get(name)


def answer(status: int, body: str, **headers: str) -> str:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{lines}\r\n{body}"


PREDICTED = answer(200, '{"model": "m", "bundle": "m@1", "predictions": [{"value": 1}]}')
BUSY = answer(429, '{"kind": "overloaded", "detail": "full"}', retry_after="1", retry_after_ms="20")


class Pieces:
    """What a scripted server says, for tests, which cannot import from here."""

    predicted = PREDICTED
    busy = BUSY
    lost = ""
    silent = None
    answer = staticmethod(answer)


@pytest.fixture
def pieces() -> type[Pieces]:
    return Pieces


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    servers: list[tuple[Scripted, threading.Thread]] = []

    def start(*script: str | None) -> Scripted:
        made = Scripted(list(script))
        thread = threading.Thread(target=made.serve)
        servers.append((made, thread))
        thread.start()
        return made

    yield start
    for made, thread in servers:
        # Ends an accept that the script was not brought to.
        made.listener.shutdown(socket.SHUT_RDWR) if made.listener.fileno() >= 0 else None
        thread.join(20)
        assert not thread.is_alive()
