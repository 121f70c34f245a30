"""A web server over a folder, for tests of what fetches files: with and without ranges, and one that breaks off on demand.

    with FileServer(folder, ranges=True) as web: httpx.get(f"{web.url}/a")     web.cut, web.cuts = 1000, 1 ends one answer early

It speaks what a store's client needs of HTTP: HEAD, `Range`, `If-Match`, `ETag`, `Last-Modified`.
"""

import hashlib
import http.server
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class FileServer:
    """Files of a directory over HTTP. `ranges`: answers them; `cut`, `cuts`: ends an answer after so many bytes, so often, and
    calls `on_cut` before it does. `requests` holds the path and the range of each request."""

    def __init__(self, directory: Path, *, ranges: bool) -> None:
        self.directory = directory
        self.ranges = ranges
        self.requests: list[tuple[str, str | None]] = []
        self.cut, self.cuts = 0, 0
        self.on_cut: Callable[[], object] = lambda: None
        handler = type("Handler", (_Handler,), {"files": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def asked(self, name: str) -> list[str | None]:
        """The ranges that were asked of files whose path ends so, in order; None for a whole file."""
        return [asked for path, asked in self.requests if path.endswith(name)]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: FileServer

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer(head=False)

    def _answer(self, *, head: bool) -> None:
        files = self.files
        path = files.directory / self.path.lstrip("/")
        files.requests.append((self.path, self.headers.get("Range")))
        if not path.is_file():
            self.send_error(404)
            return
        data, start, stop = path.read_bytes(), 0, path.stat().st_size
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        if self.headers.get("If-Match") not in (None, etag):
            self.send_error(412)
            return
        asked = self.headers.get("Range") if files.ranges else None
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else stop, stop)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Last-Modified", self.date_time_string(int(path.stat().st_mtime)))
        self.send_header("ETag", etag)
        self.end_headers()
        if not head:
            self._write(data[start:stop])

    def _write(self, body: bytes) -> None:
        files = self.files
        # Who asked a server without ranges for one has turned away at the head: the cut is for who reads.
        read = files.ranges or "Range" not in self.headers
        if read and files.cuts and len(body) > files.cut:
            files.cuts -= 1
            files.on_cut()
            body, self.close_connection = body[: files.cut], True
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test's output is its own."""
