"""Blobs of one container as Azure's storage service lists and sends them, in this process: enough of it for who reads models.

with AzureBlobs({"bundle/bundle.yaml": b"…"}) as blobs:
    os.environ.update(blobs.environment("container"))

List Blobs (pages, prefixes), Get Blob (ranges, If-Match) and Get Blob Properties of the service's REST API; every request must be
signed with the account's key ("Authorize with Shared Key"), and is refused otherwise.
"""

import base64
import hashlib
import hmac
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

ACCOUNT = "account"
KEY = base64.b64encode(b"a key of this account").decode()
_PAGE = 2
_SIGNED = (
    "Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type", "Date",
    "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range",
)  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    blobs: dict[str, bytes]
    container: str

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        split = urlsplit(self.path)
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        container, _, name = unquote(split.path).removeprefix("/").partition("/")
        if not self._is_signed(split.path, query):
            return self._say(403, b"<Error><Code>AuthenticationFailed</Code></Error>")
        if container != self.container:
            return self._say(404, b"<Error><Code>ContainerNotFound</Code></Error>")
        if query.get("comp") == "list":
            return self._list(query)
        if name not in self.blobs:
            return self._say(404, b"<Error><Code>BlobNotFound</Code></Error>")
        return self._send(self.blobs[name])

    def _list(self, query: dict[str, str]) -> None:
        names = sorted(name for name in self.blobs if name.startswith(query.get("prefix", "")))
        first = int(query.get("marker", "0"))
        page, more = names[first : first + _PAGE], first + _PAGE < len(names)
        blobs = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{formatdate(0, usegmt=True)}</Last-Modified>"
            f"<Content-Length>{len(self.blobs[name])}</Content-Length><Content-Type>application/octet-stream</Content-Type>"
            f"<Etag>{_etag(self.blobs[name])}</Etag><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name in page
        )
        marker = f"<NextMarker>{first + _PAGE}</NextMarker>" if more else "<NextMarker/>"
        text = f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>{blobs}</Blobs>{marker}</EnumerationResults>'
        self._say(200, text.encode(), {"Content-Type": "application/xml"})

    def _send(self, data: bytes) -> None:
        headers = {"ETag": f'"{_etag(data)}"', "Last-Modified": formatdate(0, usegmt=True), "x-ms-blob-type": "BlockBlob"}
        if self.headers.get("If-Match", headers["ETag"]) != headers["ETag"]:
            return self._say(412, b"<Error><Code>ConditionNotMet</Code></Error>")
        asked = self.headers.get("Range") or self.headers.get("x-ms-range")
        if asked is None:
            return self._say(200, data, headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        return self._say(206, part, headers | {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"})

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "x-ms-version": "2023-11-03", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _is_signed(self, path: str, query: dict[str, str]) -> bool:
        own = [self.headers.get(name, "") for name in _SIGNED]
        own[2] = "" if own[2] == "0" else own[2]
        theirs = sorted((name.lower(), value) for name, value in self.headers.items() if name.lower().startswith("x-ms-"))
        resource = f"/{ACCOUNT}{path}" + "".join(f"\n{name}:{query[name]}" for name in sorted(query))
        text = "\n".join([self.command, *own, *(f"{name}:{value}" for name, value in theirs), resource])
        wanted = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")).decode()
        return hmac.compare_digest(self.headers.get("Authorization", ""), f"SharedKey {ACCOUNT}:{wanted}")


def _etag(data: bytes) -> str:
    return "0x" + hashlib.sha256(data).hexdigest()[:15].upper()


class AzureBlobs:
    """The service for one container; `blobs` may be changed while it runs."""

    def __init__(self, container: str, blobs: dict[str, bytes]) -> None:
        self.blobs = blobs
        handler = type("Handler", (_Handler,), {"blobs": blobs, "container": container})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def environment(self) -> dict[str, str]:
        """What a reader of it must find in its environment."""
        endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": endpoint,
            "AZURE_ALLOW_HTTP": "true",
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
