"""examples/flights/callers.py as somebody would start it: steady requests of many callers until it is told to end."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from penstock.testing.waiting import until

CALLERS = Path(__file__).resolve().parents[3] / "examples/flights/callers.py"
FLIGHT = re.compile(r"/predict/201312(22|23|24|25|26)-\w\w-\d+-(EWR|JFK|LGA)")
ENOUGH = 60


class Server(ThreadingHTTPServer):
    """Answers everything, every tenth request with 400, and ends every seventh connection; remembers who asked for what."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked.append((self.path, self.headers["Penstock-Route-Key"]))
            number = len(self.server.asked)
        self.send_response(400 if number % 10 == 0 else 200)
        self.send_header("Penstock-Bundle", f"flights@sha256:{'ab'[number % 2] * 64}")
        self.send_header("Content-Length", "2")
        if number % 7 == 0:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join(30)


def test_every_request_is_of_a_caller_of_its_own_and_is_told_by_bundle_and_status(server: Server) -> None:
    command = [sys.executable, str(CALLERS), f"http://127.0.0.1:{server.server_port}", "--per_second", "100", "--json"]
    with subprocess.Popen([*command, "--unknown", "0.5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        until(lambda: running.poll() is not None or len(server.asked) >= ENOUGH, 60, "requests")
        running.send_signal(signal.SIGTERM)
        output, error = running.communicate(timeout=60)
    assert running.returncode == 0, error.decode()
    told = json.loads(output)
    count = len(server.asked)
    assert (told["sent"], told["failures"]) == (count, {})
    assert len({key for _, key in server.asked}) == count >= ENOUGH
    assert all(FLIGHT.fullmatch(path) for path, _ in server.asked)
    assert len({path for path, _ in server.asked}) > count / 2
    found = told["answers"]
    assert sum(sum(one["statuses"].values()) for one in found.values()) == count
    assert sum(one["statuses"].get("400", 0) for one in found.values()) == count // 10
    assert {name: sum(one["statuses"].values()) for name, one in found.items()} == {
        f"flights@sha256:{letter * 64}": (count + (letter == "b")) // 2 for letter in "ab"
    }
    assert all(0 < one["first"] <= one["last"] and one["p50_ms"] <= one["p99_ms"] for one in found.values())
