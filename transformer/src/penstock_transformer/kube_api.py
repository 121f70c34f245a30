"""As much of the Kubernetes API as a pod needs that watches a few objects: get, and watch, over plain HTTPS.

    get(path)   --> (status, document)
    watch(path) --> one document after the other, until the server ends the stream

A connection for each request: there are few, and a watch takes one for minutes. The token is read anew each time, and the
authority's certificate when it changes, because the kubelet replaces both.
(kubernetes.io/docs/reference/using-api/api-concepts: "Efficient detection of changes".)
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import httptools
import orjson

from penstock.errors import InvalidInput
from penstock.serving.security.client_tls import ClientTls

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
CONNECT_S = 3.0
HEAD_S = 10.0
_CHUNK_BYTES = 64 * 1024
_STATUS_BYTES = 16 * 1024
_TOKEN_BYTES = 64 * 1024


class KubeApiError(Exception):
    """The API server cannot be reached, or answers with something else than was asked for.

    `status` is what it answered with; 0: no answer came, or none that is one, so that nothing is known of what was asked for."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class KubeApi:
    """An API server. `token`: the file with the bearer token; `namespace`: the pod's own; `tls` None: plain HTTP, for tests."""

    def __init__(
        self, host: str, port: int, *, token: Path | None = None, namespace: str = "default", tls: ClientTls | None = None
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
            tls = ClientTls(account / "ca.crt", option="kubernetes")
            namespace = (account / "namespace").read_text().strip()
        except (OSError, InvalidInput):
            return None
        return cls(host, int(port), token=token, namespace=namespace, tls=tls)

    async def get(self, path: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The document at a path. Raises KubeApiError for any status but 200, and if nothing comes in time."""
        parts: list[bytes] = []
        nbytes = 0
        try:
            async with asyncio.timeout(timeout_s), contextlib.aclosing(self._stream(path)) as stream:
                async for part in stream:
                    parts.append(part)
                    nbytes += len(part)
                    if nbytes > MAX_DOCUMENT_BYTES:
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
        """The body of an answer with status 200, piece by piece; an empty piece first, once the answer has begun."""
        try:
            async with asyncio.timeout(CONNECT_S):
                tls = None if self._tls is None else self._tls.context()
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=tls)
        except TimeoutError:
            raise KubeApiError(f"no connection to {self._host}:{self._port} within {CONNECT_S:g} s") from None
        except OSError as error:
            raise KubeApiError(f"{self._host}:{self._port} cannot be reached: {error.strerror or error}") from None
        try:
            writer.write(self._head(path))
            answer = _Answer()
            parser = httptools.HttpResponseParser(answer)
            async with asyncio.timeout(HEAD_S):
                while not answer.begun:
                    await _read(reader, parser, answer, path)
                if parser.get_status_code() != 200:
                    raise await _refusal(reader, parser, answer, path)
            yield b""
            while True:
                if answer.parts:
                    yield answer.take()
                if answer.complete:
                    return
                await _read(reader, parser, answer, path)
        except TimeoutError:
            raise KubeApiError(f"no answer to {path} within {HEAD_S:g} s") from None
        except (OSError, httptools.HttpParserError) as error:
            raise KubeApiError(f"the answer to {path} broke off: {error}") from None
        finally:
            # Not `close`: over TLS that waits for the server's good-bye, which one that is away or hangs never says.
            writer.transport.abort()

    def _head(self, path: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", f"Host: {self._host}", "Accept: application/json", "Connection: close"]
        if self._token is not None:
            lines.append(f"Authorization: Bearer {self._bearer(self._token)}")
        return "\r\n".join([*lines, "\r\n"]).encode()

    def _bearer(self, file: Path) -> str:
        try:
            with file.open("rb") as opened:
                token = opened.read(_TOKEN_BYTES).decode("ascii").strip()
        except OSError as error:
            raise KubeApiError(f"{file}: {error.strerror}") from None
        except UnicodeDecodeError:
            token = ""
        if not token or not token.isprintable() or " " in token:
            raise KubeApiError(f"{file} holds no token")
        return token


async def _read(reader: asyncio.StreamReader, parser: httptools.HttpResponseParser, answer: "_Answer", path: str) -> None:
    """One more piece of the answer."""
    data = await reader.read(_CHUNK_BYTES)
    if data:
        parser.feed_data(data)
    else:
        answer.end(path)


async def _refusal(
    reader: asyncio.StreamReader, parser: httptools.HttpResponseParser, answer: "_Answer", path: str
) -> KubeApiError:
    """What an answer with another status says, as far as it comes."""
    status = parser.get_status_code()
    with contextlib.suppress(KubeApiError, OSError, httptools.HttpParserError):
        while not answer.complete and sum(map(len, answer.parts)) < _STATUS_BYTES:
            await _read(reader, parser, answer, path)
    try:
        message = str(orjson.loads(answer.take())["message"])[:500]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = ""
    return KubeApiError(f"{path}: status {status}{': ' + message if message else ''}", status)


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
        self.complete = True
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
