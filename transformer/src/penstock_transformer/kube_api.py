"""As much of the Kubernetes API as a pod needs that watches a few objects: get, and watch, over plain HTTPS.

    get(path)   --> (status, document)
    watch(path) --> one document after the other, until the server ends the stream

A connection for each request: there are few, and a watch takes one for minutes. The token is read anew each time, because the
kubelet replaces it. (kubernetes.io/docs/reference/using-api/api-concepts: "Efficient detection of changes".)
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import httptools
import orjson

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class KubeApiError(Exception):
    """The API server cannot be reached, or answers with something else than was asked for; `status` 0 if with nothing."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class KubeApi:
    """An API server. `token`: the file with the bearer token; `namespace`: the pod's own; `tls` None: plain HTTP, for tests."""

    def __init__(
        self, host: str, port: int, *, token: Path | None = None, namespace: str = "default", tls: ssl.SSLContext | None = None
    ) -> None:
        self.namespace = namespace
        self._host = host
        self._port = port
        self._token = token
        self._tls = tls

    @classmethod
    def of_this_pod(cls, env: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> "KubeApi | None":
        """The API server of the cluster that this process runs in, as its pod's service account sees it; None outside of one, or
        for a pod that mounts no token."""
        host, port, token = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT", "443"), account / "token"
        if not host or not token.is_file():
            return None
        try:
            tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
            namespace = (account / "namespace").read_text().strip()
        except OSError:
            return None
        return cls(host, int(port), token=token, namespace=namespace, tls=tls)

    async def get(self, path: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The document at a path. Raises KubeApiError for any status but 200, and if nothing comes in time."""
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(timeout_s), contextlib.aclosing(self._stream(path)) as stream:
                async for part in stream:
                    parts.append(part)
                    if sum(map(len, parts)) > MAX_DOCUMENT_BYTES:
                        raise KubeApiError(f"the answer to {path} is over {MAX_DOCUMENT_BYTES} bytes")
        except TimeoutError:
            raise KubeApiError(f"no answer to {path} within {timeout_s:g} s") from None
        return _document(b"".join(parts))

    async def watch(self, path: str, silent_s: float) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a watch, as they come. Ends when the server ends it; raises KubeApiError as `get` does, and when nothing
        has come for `silent_s`."""
        rest = b""
        async with contextlib.aclosing(self._stream(path)) as stream:
            while True:
                try:
                    async with asyncio.timeout(silent_s):
                        part = await anext(stream, None)
                except TimeoutError:
                    raise KubeApiError(f"nothing came of {path} for {silent_s:g} s") from None
                if part is None:
                    return
                *lines, rest = (rest + part).split(b"\n")
                if len(rest) > MAX_DOCUMENT_BYTES:
                    raise KubeApiError(f"an event of {path} is over {MAX_DOCUMENT_BYTES} bytes")
                for line in lines:
                    if line.strip():
                        yield _document(line)

    async def _stream(self, path: str) -> AsyncGenerator[bytes, None]:
        """The body of an answer with status 200, piece by piece."""
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        except OSError as error:
            raise KubeApiError(f"{self._host}:{self._port} cannot be reached: {error.strerror or error}") from None
        try:
            writer.write(self._head(path))
            answer = _Answer()
            parser = httptools.HttpResponseParser(answer)
            while not answer.complete:
                data = await reader.read(_CHUNK_BYTES)
                if not data:
                    answer.end(path)
                    break
                parser.feed_data(data)
                if answer.begun:
                    status = parser.get_status_code()
                    if status != 200:
                        raise KubeApiError(f"{path}: status {status}", status)
                    if answer.parts:
                        yield answer.take()
        except (OSError, httptools.HttpParserError) as error:
            raise KubeApiError(f"the answer to {path} broke off: {error}") from None
        finally:
            writer.close()

    def _head(self, path: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", f"Host: {self._host}", "Accept: application/json", "Connection: close"]
        if self._token is not None:
            try:
                lines.append(f"Authorization: Bearer {self._token.read_text().strip()}")
            except OSError as error:
                raise KubeApiError(f"{self._token}: {error.strerror}") from None
        return "\r\n".join([*lines, "\r\n"]).encode()


class _Answer:
    """What the parser tells."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.begun = False
        self.complete = False
        self.ends_with_connection = False
        self._told_length = False

    def take(self) -> bytes:
        parts, self.parts = self.parts, []
        return b"".join(parts)

    def end(self, path: str) -> None:
        """The connection has ended. Raises KubeApiError if the answer has not."""
        if not self.ends_with_connection:
            raise KubeApiError(f"the answer to {path} ended half-way")

    def on_header(self, name: bytes, _value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._told_length = True

    def on_headers_complete(self) -> None:
        self.begun = True
        self.ends_with_connection = not self._told_length

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


def _document(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise KubeApiError(f"the API server's answer is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise KubeApiError("the API server's answer is not an object")
    return found
