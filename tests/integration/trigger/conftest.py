"""What tests of the trigger share: a receiver of events, and logs written by hand."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from penstock_transformer.feedback.document import LoggedRequest, LoggedRow
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.row import LogRow, rows_of
from penstock_transformer.feedback.writer import FolderWriter


@dataclass
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP server that answers as `statuses` say, one after the other, then with 204."""

    statuses: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    url: str = ""

    def answer(self, headers: dict[str, str], body: bytes) -> int:
        self.received.append(Received(headers, body))
        return self.statuses.pop(0) if self.statuses else 204


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(found.answer({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}/retrain"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def log_rows(
    root: Path,
    bundle: str,
    count: int,
    *,
    right: bool,
    ago_s: float = 10.0,
    shadow: bool = False,
    model: str = "flights",
    distance: float = 1.0,
) -> None:
    """Put requests of one row, and their outcomes, in a log: answered `right` or wrong, so long ago."""
    now = time.time() - ago_s
    rows: list[LogRow] = []
    outcomes: list[Outcome] = []
    for at in range(count):
        truth = "late" if at % 2 else "on time"
        said = truth if right else ("on time" if at % 2 else "late")
        answer = {"label": said, "scores": {"on time": float(said == "on time"), "late": float(said == "late")}}
        row = LoggedRow({"distance": distance}, {}, answer)
        identity = f"{bundle[-4:]}-{shadow}-{ago_s:g}-{at}"
        rows += rows_of(LoggedRequest(identity, now, model, bundle, model, "7", 1.0, [row], shadow=shadow))
        outcomes.append(Outcome(identity, 0, now, truth, None, now))
    FolderWriter(root).add(model, rows, outcomes)


@pytest.fixture(name="log_rows", scope="session")
def _log_rows() -> Callable[..., None]:
    return log_rows
