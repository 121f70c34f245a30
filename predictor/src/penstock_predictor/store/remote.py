"""An object store seen through obstore: list, read, copy from an offset on. The one module that imports it.

Errors are wrapped here: what a store refuses or lacks is NotFound or InvalidInput with its address, what cannot be reached is
UpstreamUnavailable. Credentials come from the environment, under the names that each cloud's own tools use, and are never shown.

Web servers have no listing: there a model is one address, of a bundle's directory or of a file *.onnx.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from penstock.errors import Conflict, InvalidInput, NotFound, PenstockError, TooLarge, UpstreamUnavailable

SCHEMES = ("s3", "gs", "az", "abfs", "abfss", "https", "http")
_LISTED = ("s3", "gs", "az", "abfs", "abfss")
# One request's share of a large file: a request that hangs or breaks costs at most this much again.
_RANGE_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_MOST_OBJECTS = 100_000
_ALLOW_HTTP = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP", "AZURE_STORAGE_USE_EMULATOR", "GOOGLE_ALLOW_HTTP")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CLIENT = {"connect_timeout": "5s", "timeout": "300s"}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An object: its size, a mark that changes when its content does (etag, else time and size), and the etag to ask for this
    very content by, if it is a strong one (RFC 9110, 13.1.1)."""

    size: int
    mark: str
    etag: str | None = None


class RangeRefused(Exception):
    """The server sends whole files only."""


def is_remote(address: str) -> bool:
    """Whether an address is one of an object store or web server rather than a path."""
    scheme, mark, _ = address.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


class RemoteStore:
    """The objects under one address. Calls block; the store may be used from several threads."""

    def __init__(self, address: str, *, retries: int = 4) -> None:
        try:
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError as error:
            raise InvalidInput(
                "object stores need the package obstore: install penstock-predictor[stores]", field="model_dir"
            ) from error
        scheme = address.partition("://")[0].lower()
        self.address = _without_secrets(address)
        self.listed = scheme in _LISTED
        self._obstore: Any = obstore
        self._refused: tuple[type[BaseException], ...] = (BaseError, OSError)
        # Options that are given replace those of the environment, this one among them.
        plain = scheme == "http" or any(os.environ.get(name, "").lower() in ("true", "1") for name in _ALLOW_HTTP)
        options: dict[str, Any] = {**_CLIENT, "allow_http": plain}
        try:
            make: Any = from_url  # its overloads want to know the cloud beforehand
            self._store: Any = make(address, client_options=options, retry_config={"max_retries": retries})
        except (BaseError, ValueError, TypeError) as error:
            raise InvalidInput(f"not the address of an object store: {_reason(error)}", field="model_dir") from None

    def list(self) -> dict[str, RemoteFile]:
        """Every object by its name relative to the address. Raises UpstreamUnavailable, NotFound, InvalidInput."""
        found: dict[str, RemoteFile] = {}
        try:
            for page in self._obstore.list(self._store):
                for meta in page:
                    found[meta["path"]] = _file(meta)
                    if len(found) > _MOST_OBJECTS:
                        raise TooLarge(f"{self.address} holds more than {_MOST_OBJECTS} objects", field="model_dir")
        except self._refused as error:
            raise self._wrapped(error, "") from error
        return found

    def look(self, name: str) -> RemoteFile | None:
        """One object, None if there is none of that name."""
        try:
            return _file(self._obstore.get(self._store, name, options={"head": True}).meta)
        except FileNotFoundError:
            return None
        except self._refused as error:
            raise self._wrapped(error, name) from error

    def read(self, name: str, most_bytes: int) -> bytes:
        """A small object whole. Raises NotFound, TooLarge, UpstreamUnavailable."""
        parts: list[bytes] = []
        total = 0
        for chunk in self._stream(name, None):
            total += len(chunk)
            if total > most_bytes:
                raise TooLarge(f"is longer than {most_bytes} bytes", field=f"{self.address}/{name}")
            parts.append(chunk)
        return b"".join(parts)

    def ranges(self, name: str, offset: int, size: int, etag: str | None = None) -> Iterator[bytes]:
        """The bytes from `offset` to `size`, in requests of bounded length, all of the content of that `etag`.

        Raises RangeRefused before the first byte, Conflict if the object has another content by now.
        """
        while offset < size:
            end = min(offset + _RANGE_BYTES, size)
            for chunk in self._stream(name, (offset, end), etag):
                offset += len(chunk)
                yield chunk
            if offset < end:
                raise UpstreamUnavailable(f"{self.address}/{name} ended after {offset} of {size} bytes")

    def whole(self, name: str, etag: str | None = None) -> Iterator[bytes]:
        """All bytes of an object in one request, for servers without ranges. Raises as `ranges`."""
        return self._stream(name, None, etag)

    def _stream(self, name: str, span: tuple[int, int] | None, etag: str | None = None) -> Iterator[bytes]:
        options: dict[str, Any] = {}
        if span is not None:
            options["range"] = span
        if etag is not None:
            options["if_match"] = etag
        try:
            answer = self._obstore.get(self._store, name, options=options)
            for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)
        except self._refused as error:
            if type(error).__name__ == "NotSupportedError" and span is not None:
                raise RangeRefused(name) from error
            raise self._wrapped(error, name) from error

    def _wrapped(self, error: BaseException, name: str) -> PenstockError:
        where = f"{self.address}/{name}" if name else self.address
        text = str(error)
        # What breaks off in the middle is asked for again by obstore itself, and its error then is one of another kind.
        if type(error).__name__ == "PreconditionError" or "precondition failure" in text:
            return Conflict(f"{where} was replaced while it was fetched")
        # Of a listing that is refused obstore tells no more than the status.
        status = _STATUS.search(text)
        if isinstance(error, FileNotFoundError) or (status and status[1] == "404"):
            return NotFound(f"{where} is not there")
        refused = type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError")
        if isinstance(error, PermissionError) or refused or (status and status[1] in ("401", "403")):
            return InvalidInput(f"{where} may not be read with the credentials of the environment", field="model_dir")
        return UpstreamUnavailable(f"{where} cannot be read: {_reason(error)}")


def _file(meta: Any) -> RemoteFile:
    etag = meta.get("e_tag")
    mark = etag or f"{meta.get('last_modified')}/{meta['size']}"
    return RemoteFile(meta["size"], hashlib.sha256(str(mark).encode()).hexdigest(), _strong(etag))


def _strong(etag: str | None) -> str | None:
    """An etag to ask by, None for a weak one. Azure lists them without the quotes that If-Match needs (RFC 9110, 8.8.3)."""
    if not etag or etag.startswith("W/"):
        return None
    return etag if etag.startswith('"') else f'"{etag}"'


def _reason(error: BaseException) -> str:
    """The first line of a message, which has no answer's body in it, shortened."""
    return _without_secrets(str(error).split("\n", 1)[0].split(": <", 1)[0])[:300]


def _without_secrets(text: str) -> str:
    """Addresses without passwords, and without queries, which may hold signatures."""
    return re.sub(r"\?\S*", "", re.sub(r"//[^/@\s]*:[^/@\s]*@", "//", text))
