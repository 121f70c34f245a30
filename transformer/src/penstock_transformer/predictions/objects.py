"""The object store for large bodies: a folder or a bucket, through obstore, which is imported when a store is opened.

    body --put--> object, then the row or the record with its reference --get--> body, checked against its name's digest

What cannot be reached, and a bucket or folder that is not there at all, is UpstreamUnavailable: the same call may work later.
NotFound is said only of a store that answers and knows itself (its marker is there) and lacks the one object: a volume that is
not mounted must not make a worker give up every request it reads.
"""

import asyncio
import hashlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from penstock.errors import Internal, InvalidInput, NotFound, PenstockError, TooLarge, UpstreamUnavailable
from penstock.failpoints import failpoint
from penstock_transformer.predictions.object_names import HEADER, Kind, ObjectName, id_text, read_key, read_reference

logger = logging.getLogger(__name__)

_MARKER = "penstock-objects"
_CLIENT = {"connect_timeout": "5s"}
_RETRIES = 3
_PAGE = 500
# Above this a digest takes longer than the loop may be held.
_INLINE_HASH_BYTES = 1 << 20
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=-]+)*", re.ASCII)


class Corrupted(Internal):
    """A body is there and is not the one that was written."""


class Kept(NamedTuple):
    """An object of the store and its age in s, by the store's own clock."""

    name: ObjectName
    age_s: float


class Objects(Protocol):
    """Where large bodies lie. Every call may be cancelled, and raises UpstreamUnavailable where the store is away."""

    async def put(self, prediction_id: str, kind: Kind, body: bytes) -> str:
        """Keep a body; its reference. It is durable when this returns. Raises TooLarge."""

    async def get(self, reference: str) -> bytes:
        """The body, checked. Raises NotFound if it is gone, InvalidInput for a reference that is none of ours, TooLarge,
        Corrupted."""

    async def delete(self, references: Sequence[str]) -> None:
        """Remove these; those that are gone already, or are none of ours, are left out."""


@dataclass(frozen=True, slots=True)
class _Backend:
    """An opened store: obstore's module, its store, and the folder if it is one."""

    obstore: Any
    store: Any
    refused: tuple[type[BaseException], ...]
    folder: Path | None


class StoredObjects:
    """Implements `Objects` over a folder (`file:///path`) or a bucket (`s3://bucket/prefix`). One event loop."""

    def __init__(self, address: str, *, most_bytes: int, timeout_s: float) -> None:
        self.base = _base(address)
        self._most_bytes = most_bytes
        self._timeout_s = timeout_s
        self._backend = _open(self.base, timeout_s)

    async def start(self) -> None:
        """Leave the marker that later tells an empty store from the wrong one. Raises UpstreamUnavailable."""
        await self._mark()

    async def put(self, prediction_id: str, kind: Kind, body: bytes) -> str:
        if len(body) > self._most_bytes:
            raise TooLarge(f"expected at most {self._most_bytes} bytes, got {len(body)}", field="body")
        digest = await self._digest(body)
        name = ObjectName(kind, id_text(prediction_id), time.time_ns() // 1_000_000, len(body), digest)
        async with self._reaching("write"):
            await self._backend.obstore.put_async(self._backend.store, name.key, body, use_multipart=False)
            if self._backend.folder is not None:
                await asyncio.to_thread(_sync, self._backend.folder / name.key)
        failpoint("object.written")
        return f"{self.base}/{name.key}"

    async def get(self, reference: str) -> bytes:
        name = read_reference(self.base, reference)
        if name.nbytes > self._most_bytes:
            raise TooLarge(f"expected a body of at most {self._most_bytes} bytes, got {name.nbytes}", field=HEADER)
        try:
            async with self._reaching("read"):
                answer = await self._backend.obstore.get_async(self._backend.store, name.key)
                # Before any of it is in memory: the object may be another's by now, and of any size.
                body = bytes(await answer.bytes_async()) if answer.meta["size"] == name.nbytes else None
        except FileNotFoundError as error:
            raise await self._absence(error) from error
        if body is None or await self._digest(body) != name.sha256:
            logger.error("stored body is not what was written", extra={"request_id": name.prediction_id, "kind": name.kind})
            raise Corrupted("the stored body is not what was written", field=HEADER)
        return body

    async def delete(self, references: Sequence[str]) -> None:
        keys = []
        for reference in references:
            try:
                keys.append(read_reference(self.base, reference).key)
            except InvalidInput:
                logger.error("reference of another object store", extra={"reference": reference[:200]})
        await self.remove(keys)

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove objects by key."""
        for start in range(0, len(keys), _PAGE):
            page = list(keys[start : start + _PAGE])
            try:
                async with self._reaching("delete"):
                    await self._backend.obstore.delete_async(self._backend.store, page)
            except FileNotFoundError:
                # A folder stops at the first that is gone, a bucket does not mind.
                for key in page:
                    await self._remove_one(key)

    async def kept(self) -> AsyncIterator[list[Kept]]:
        """Every object of ours, by pages, with its age: measured by the clock that also dated the object, so that no clock
        that is wrong, here or there, makes a young object old."""
        now = await self._mark()
        stream = self._backend.obstore.list(self._backend.store, chunk_size=_PAGE)
        while True:
            async with self._reaching("list"):
                page = await anext(stream, None)
            if page is None:
                return
            found = []
            for meta in page:
                name = read_key(meta["path"])
                if name is not None:
                    found.append(Kept(name, (now - meta["last_modified"]).total_seconds()))
            yield found

    async def _mark(self) -> datetime:
        async with self._reaching("write"):
            await self._backend.obstore.put_async(self._backend.store, _MARKER, b"", use_multipart=False)
            meta = await self._backend.obstore.head_async(self._backend.store, _MARKER)
        moment: datetime = meta["last_modified"]
        return moment

    async def _remove_one(self, key: str) -> None:
        try:
            async with self._reaching("delete"):
                await self._backend.obstore.delete_async(self._backend.store, key)
        except FileNotFoundError:
            return

    async def _absence(self, error: BaseException) -> PenstockError:
        """Why an object is not there: gone, or the whole store is another one."""
        try:
            async with self._reaching("read"):
                await self._backend.obstore.head_async(self._backend.store, _MARKER)
        except FileNotFoundError:
            logger.error("object store is empty or another one", extra={"objects": self.base, "reason": type(error).__name__})
            return UpstreamUnavailable("the object store is not the one that bodies were written to")
        return NotFound("the stored body is gone", field=HEADER)

    async def _digest(self, body: bytes) -> str:
        if len(body) <= _INLINE_HASH_BYTES:
            return hashlib.sha256(body).hexdigest()
        return await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())

    def _reaching(self, what: str) -> "_Reaching":
        return _Reaching(self, what)

    def unavailable(self, what: str, error: BaseException) -> UpstreamUnavailable:
        """The error for a caller; what the store said is for the log."""
        logger.warning("object store failed", extra={"objects": self.base, "call": what, "reason": _reason(error)})
        return UpstreamUnavailable("the object store cannot be reached")

    @property
    def refused(self) -> tuple[type[BaseException], ...]:
        """What the store's calls raise."""
        return self._backend.refused

    @property
    def timeout_s(self) -> float:
        """Longest call."""
        return self._timeout_s


class _Reaching:
    """One call of the store: bounded in time, its errors made ours. FileNotFoundError of one object passes."""

    def __init__(self, objects: StoredObjects, what: str) -> None:
        self._objects = objects
        self._what = what
        self._timeout = asyncio.timeout(objects.timeout_s)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise self._objects.unavailable(self._what, late) from error
        absent = isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error)
        if error is not None and isinstance(error, self._objects.refused) and not (absent and self._what in ("read", "delete")):
            raise self._objects.unavailable(self._what, error) from error


def open_objects(address: str, *, most_bytes: int, timeout_s: float) -> StoredObjects:
    """The object store at `address`, not yet reached: `await objects.start()`. Raises InvalidInput for what is no address."""
    return StoredObjects(address, most_bytes=most_bytes, timeout_s=timeout_s)


def _base(address: str) -> str:
    """The address in the one form that references begin with."""
    trimmed = address.rstrip("/")
    if trimmed.startswith("file:///"):
        folder = Path(trimmed.removeprefix("file://"))
        if ".." in folder.parts or not folder.parts[1:]:
            raise InvalidInput(f"expected file:///FOLDER, got {address!r:.80}", field="objects")
        return f"file://{folder}"
    if _S3.fullmatch(trimmed) and not {".", ".."} & set(trimmed.split("/")):
        return trimmed
    raise InvalidInput(f"expected file:///FOLDER or s3://BUCKET/PREFIX, got {address!r:.80}", field="objects")


def _open(base: str, timeout_s: float) -> _Backend:
    try:
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, from_url
    except ImportError as error:
        raise InvalidInput("object stores need the package obstore", field="objects") from error
    folder = Path(base.removeprefix("file://")) if base.startswith("file://") else None
    try:
        if folder is not None:
            # Bodies are what callers sent: nobody else on the machine reads them.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            store: Any = LocalStore(folder, automatic_cleanup=True)
        else:
            plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1")
            options: Any = {**_CLIENT, "timeout": f"{max(1, round(timeout_s))}s", "allow_http": plain}
            make: Any = from_url
            store = make(base, client_options=options, retry_config={"max_retries": _RETRIES})
    except (BaseError, ValueError, TypeError, OSError) as error:
        raise InvalidInput(f"cannot be opened: {_reason(error)}", field="objects") from None
    return _Backend(obstore, store, (BaseError, OSError), folder)


def _sync(path: Path) -> None:
    """The row is durable when it is written, so its body must be before: the file, its name, and its folders' names."""
    for one in (path, *list(path.parents)[:3]):
        handle = os.open(one, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
