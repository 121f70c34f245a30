"""One file on its way from a store to disk: resumed where it broke off, checked before it is believed.

    name.part (what came so far) --> ranges from there on --> size, SHA-256 --> rename to name

Invariant: a file under its final name is whole, and has its digest where one is known. What is left of a broken download is only
ever continued, and thrown away whole if the result is not what it should be.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from penstock.bundle.files import check_entry, digest_file
from penstock.bundle.manifest import FileEntry
from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock_predictor.store.remote import RangeRefused, RemoteStore

log = logging.getLogger(__name__)

_TRIES = 5


class Download:
    """A file of `size` bytes, `name` in the store, to be `target`; `listed` is what bundle.yaml says of it, None if nothing.

    Where nothing is known of its content, `etag` holds all its parts to one: an object that is replaced by one of its size in the
    middle would otherwise be half of each.
    """

    def __init__(
        self, store: RemoteStore, name: str, target: Path, size: int, listed: FileEntry | None = None, etag: str | None = None
    ) -> None:
        self._store = store
        self._name = name
        self._target = target
        self._part = target.with_name(f"{target.name}.part")
        self._size = size
        self._listed = listed
        self._etag = etag

    def run(self) -> None:
        """Bring the file, or what is missing of it. Blocking.

        Raises InvalidInput naming the file if it is not what it should be, UpstreamUnavailable if it does not come, Conflict if
        it was replaced meanwhile.
        """
        if self._target.is_file() and self._target.stat().st_size == self._size:
            return  # it was checked before it got this name
        self._target.parent.mkdir(parents=True, exist_ok=True)
        resumed = self._length() > 0
        self._bring()
        try:
            self._check()
        except InvalidInput:
            self._part.unlink(missing_ok=True)
            if not resumed:
                raise
            # What was there from before may have been of another version of the file: once more, from the first byte.
            log.warning("resumed download discarded", extra={"file": self._name})
            self._bring()
            self._check_or_discard()
        os.replace(self._part, self._target)

    def _bring(self) -> None:
        broken: UpstreamUnavailable | None = None
        in_ranges = True
        for _ in range(_TRIES):
            if not in_ranges:
                self._part.unlink(missing_ok=True)
            before = self._length()
            try:
                if in_ranges:
                    return self._append(self._store.ranges(self._name, before, self._size, self._etag))
                return self._append(self._store.whole(self._name, self._etag))
            except RangeRefused:
                log.info("server sends whole files only", extra={"file": self._name})
                in_ranges = False
            except UpstreamUnavailable as error:
                broken = error
                if in_ranges and self._length() == before:
                    raise  # the store's own retries are spent, and nothing came; a whole answer's it makes by ranges, in vain
                log.warning("download broke off", extra={"file": self._name, "bytes": self._length(), "reason": str(error)})
        raise broken or UpstreamUnavailable(f"{self._name} could not be fetched")

    def _append(self, chunks: Iterator[bytes]) -> None:
        length = self._length()
        with self._part.open("ab") as file:
            if not self._size:
                return
            for chunk in chunks:
                length += len(chunk)
                if length > self._size:
                    raise InvalidInput(f"is longer than the {self._size} bytes it should have", field=self._name)
                file.write(chunk)

    def _check(self) -> None:
        if self._listed is not None:
            check_entry(self._name, digest_file(self._part, self._name), self._listed)
        elif self._length() != self._size:
            raise InvalidInput(f"has {self._length()} bytes, {self._size} were announced", field=self._name)

    def _check_or_discard(self) -> None:
        try:
            self._check()
        except InvalidInput:
            self._part.unlink(missing_ok=True)
            raise

    def _length(self) -> int:
        """Bytes that are there; hashed anew at the end, so that what an earlier process left is never taken on trust."""
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0
