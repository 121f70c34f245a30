"""Models of an object store as a `ModelSource`: found by the rules of a directory, fetched into the cache, served from there.

    list --> places by name --> bundle.yaml (its digest is the key) --> missing files, a few at a time --> a whole directory

A bundle is known by the digest of its bundle.yaml, a plain model by the marks of its objects: what has not changed is not fetched
again. Every file of a bundle has its digest checked before the directory counts.
"""

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from penstock.bundle.manifest import Manifest
from penstock.bundle.manifest_text import read_manifest
from penstock.bundle.reading import MAX_MANIFEST_BYTES
from penstock.errors import InvalidInput, NotFound
from penstock.onnx.external import external_files
from penstock_predictor.repository import MANIFEST, MODEL, Found, Place, arrange, model_name_of
from penstock_predictor.store.cache import ModelCache
from penstock_predictor.store.download import Download
from penstock_predictor.store.remote import RemoteFile, RemoteStore

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Remote:
    """A model in the store; `files` are its objects by name below its directory, as far as a listing told."""

    found: Found
    files: dict[str, RemoteFile]


class ObjectSource:
    """Implements `ModelSource` over the address of a store: a bundle, a plain model, or a repository of them."""

    def __init__(self, address: str, model_name: str, cache: Path) -> None:
        single = address.endswith(".onnx")
        # A single file: its directory is the store, so that its external data is found beside it.
        base, _, self._file = address.rstrip("/").rpartition("/") if single else (address.rstrip("/"), "", "")
        self._store = RemoteStore(base)
        self._model_name = model_name
        self._cache = ModelCache(cache)
        self._wanted: dict[tuple[str, str | None], str] = {}
        self._lock = threading.Lock()

    def places(self, model: str | None = None) -> list[Place]:
        with self._lock:
            remotes = self._remotes()
            there = {(remote.found.model, remote.found.version) for remote in remotes}
            self._wanted = {key: held for key, held in self._wanted.items() if key in there}
            places = [self._place(remote) for remote in remotes if model is None or remote.found.model == model]
            self._cache.discard(set(self._wanted.values()))
            return places

    def names(self) -> list[tuple[str, str | None]]:
        return [(remote.found.model, remote.found.version) for remote in self._remotes()]

    def _remotes(self) -> list[Remote]:
        if not self._store.listed:
            return [self._unlisted()]
        listing: dict[tuple[str, ...], list[str]] = {(): []}
        below: dict[tuple[str, ...], dict[str, RemoteFile]] = {}
        for name, file in self._store.list().items():
            parts = PurePosixPath(name).parts
            if not parts or ".." in parts or PurePosixPath(name).is_absolute():
                continue
            for depth in range(len(parts)):
                listing.setdefault(parts[:depth], [])
                below.setdefault(parts[:depth], {})["/".join(parts[depth:])] = file
            listing[parts[:-1]].append(parts[-1])
        if self._file:
            listing = {(): [self._file] if self._file in listing[()] else []}
        found = arrange(listing, self._model_name)
        if not found:
            raise NotFound(f"{self._store.address} holds neither {MANIFEST} nor {MODEL}, nor directories with them")
        return [Remote(one, below.get(one.parts, {})) for one in found]

    def _unlisted(self) -> Remote:
        """The one model behind a web server's address."""
        for name in (self._file,) if self._file else (MANIFEST, MODEL):
            file = self._store.look(name)
            if file is not None:
                return Remote(Found(self._model_name, None, (), name == MANIFEST), {name: file})
        if self._file:
            raise NotFound(f"{self._store.address}/{self._file} is not there")
        raise NotFound(f"{self._store.address} holds neither {MANIFEST} nor {MODEL}")

    def _place(self, remote: Remote) -> Place:
        found = remote.found
        directory = self._bundle(remote) if found.is_bundle else self._plain(remote)
        return Place(found.model, found.version, directory, found.is_bundle)

    def _bundle(self, remote: Remote) -> Path:
        prefix = "/".join((*remote.found.parts, ""))
        text = self._store.read(f"{prefix}{MANIFEST}", MAX_MANIFEST_BYTES)
        manifest = read_manifest(text)
        key = hashlib.sha256(text).hexdigest()
        self._check_listing(manifest, remote)

        def fetch(into: Path) -> None:
            self._fetch([Download(self._store, f"{prefix}{n}", into / n, e.bytes, e) for n, e in manifest.files.items()])
            (into / MANIFEST).write_bytes(text)

        self._wanted[remote.found.model, remote.found.version] = key
        return self._cache.hold(key, fetch)

    def _check_listing(self, manifest: Manifest, remote: Remote) -> None:
        """Before anything large is fetched: an upload that is not complete shows in the listing."""
        if not self._store.listed:
            return
        for name, entry in manifest.files.items():
            file = remote.files.get(name)
            if file is None:
                raise InvalidInput("is missing from the bundle", field=name)
            if file.size != entry.bytes:
                raise InvalidInput(f"has {file.size} bytes, bundle.yaml lists {entry.bytes}", field=name)

    def _plain(self, remote: Remote) -> Path:
        prefix = "/".join((*remote.found.parts, ""))
        model = self._file or model_name_of([name for name in remote.files if "/" not in name]) or MODEL
        marks = sorted((name, file.mark) for name, file in remote.files.items())
        key = hashlib.sha256(repr((self._store.address, remote.found.parts, model, marks)).encode()).hexdigest()

        def fetch(into: Path) -> None:
            self._fetch([self._plain_file(remote, prefix, model, into)])
            self._fetch([self._plain_file(remote, prefix, name, into) for name in _named_weights(into / model)])

        self._wanted[remote.found.model, remote.found.version] = key
        return self._cache.hold(key, fetch)

    def _plain_file(self, remote: Remote, prefix: str, name: str, into: Path) -> Download:
        file = remote.files.get(name) or self._store.look(f"{prefix}{name}")
        if file is None:
            raise InvalidInput("is named by the model and is not in the store", field=name)
        return Download(self._store, f"{prefix}{name}", into / name, file.size, etag=file.etag)

    def _fetch(self, downloads: Sequence[Download]) -> None:
        """A few at a time: memory and connections stay bounded, and one slow file does not hold up all others."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="penstock-fetch") as threads:
            for done in [threads.submit(download.run) for download in downloads]:
                done.result()


def _named_weights(model: Path) -> tuple[str, ...]:
    """The external data that a model names, which does not lie beside it yet. Raises InvalidInput for a place outside."""
    return external_files(model, present=False)
