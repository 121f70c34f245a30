"""Opening a bundle: from a directory, or from files that somebody else holds; verified to the last byte either way.

    directory --open_bundle--> Bundle <--bundle_from_files-- GET /v2/models/{m}/bundle/{file}

Nothing of a bundle is used before its digest has been compared; small files are kept as the bytes that were compared, so what
changes on disk later is never served. A model's external data must be listed like any other file.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from penstock.bundle.files import bundle_digest, check_entry, digest_bytes, digest_file, inside, read_file
from penstock.bundle.manifest import Manifest
from penstock.bundle.manifest_text import MANIFEST, read_manifest
from penstock.errors import InvalidInput, NotFound, TooLarge
from penstock.features.reading import read_spec
from penstock.features.spec import FeatureSpec

MAX_MANIFEST_BYTES = 16 << 20
MAX_SMALL_BYTES = 256 << 20

Fetch = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle. `digest` is `sha256:…` of bundle.yaml; `features` None for a bundle without; `directory` None if
    fetched.
    """

    manifest: Manifest
    digest: str
    features: FeatureSpec | None
    directory: Path | None = None
    files: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """`name@sha256:…`, as every answer names it."""
        return f"{self.manifest.name}@{self.digest}"

    def small_files(self) -> tuple[str, ...]:
        """Names of the files that are served to transformers: bundle.yaml and all but the model's."""
        return (MANIFEST, *self.manifest.small_files())

    def read(self, file: str) -> bytes:
        """A file's verified bytes. Raises NotFound for one that the bundle does not list."""
        if file in self.files:
            return self.files[file]
        if file not in self.manifest.files or self.directory is None:
            raise NotFound(f"bundle {self.manifest.name} has no file {file!r}; it has {', '.join(self.small_files())}")
        listed = self.manifest.files[file]
        data = read_file(inside(self.directory, file), file, max(listed.bytes, MAX_SMALL_BYTES))
        check_entry(file, digest_bytes(data), listed)
        return data

    @property
    def model_path(self) -> Path:
        """Where the model lies. Raises NotFound for a bundle that was fetched without it."""
        if self.directory is None:
            raise NotFound(f"bundle {self.manifest.name} was fetched without its model")
        return self.directory / self.manifest.model.file

    @property
    def encoder(self) -> bytes | None:
        """encoder.onnx, or None for a bundle without features."""
        return self.files.get("encoder.onnx")


def open_bundle(directory: Path, *, progress: Callable[[str], None] | None = None) -> Bundle:
    """Verify every file of a bundle's directory. `progress` is told each file's name before it is read.

    Raises InvalidInput naming the first file that is missing, changed, a link out of the bundle, or not what it should be.
    """
    if not directory.is_dir():
        raise InvalidInput("expected the directory of a bundle", field=str(directory))
    text = read_file(inside(directory, MANIFEST), MANIFEST, MAX_MANIFEST_BYTES)
    manifest = read_manifest(text)
    small = set(manifest.small_files())
    files = {MANIFEST: text}
    for name, listed in manifest.files.items():
        if progress is not None:
            progress(name)
        path = inside(directory, name)
        if name in small:
            files[name] = read_file(path, name, MAX_SMALL_BYTES)
            check_entry(name, digest_bytes(files[name]), listed)
        else:
            check_entry(name, digest_file(path, name), listed)
    _check_external(directory, manifest)
    return Bundle(manifest, bundle_digest(text), _read_features(files), directory, files)


async def bundle_from_files(fetch: Fetch, digest: str | None = None) -> Bundle:
    """A bundle's small files, fetched by name and verified in memory; the model stays where it is.

    `digest` is the one wanted (`sha256:…`), or None to take what bundle.yaml there is. Raises InvalidInput if what comes is not
    it, and whatever `fetch` raises.
    """
    text = await fetch(MANIFEST)
    found = bundle_digest(text)
    if digest is not None and found != digest:
        raise InvalidInput(f"has digest {found}, {digest} was asked for", field=MANIFEST)
    manifest = read_manifest(text)
    names = manifest.small_files()
    total = sum(manifest.files[name].bytes for name in names)
    if total > MAX_SMALL_BYTES:
        raise TooLarge(f"{total} bytes beside the model, the limit is {MAX_SMALL_BYTES}", field=MANIFEST)
    contents = await asyncio.gather(*(fetch(name) for name in names))
    files = {MANIFEST: text} | dict(zip(names, contents, strict=True))
    for name in names:
        check_entry(name, digest_bytes(files[name]), manifest.files[name])
    return Bundle(manifest, found, _read_features(files), None, files)


def _read_features(files: dict[str, bytes]) -> FeatureSpec | None:
    text = files.get("features.yaml")
    return None if text is None else read_spec(text)


def _check_external(directory: Path, manifest: Manifest) -> None:
    from penstock.onnx.external import external_files

    for model in (manifest.model.file, manifest.fused):
        if model is None:
            continue
        for name in external_files(directory / model):
            if name not in manifest.files:
                raise InvalidInput(f"is weights of {model}, and bundle.yaml does not list it", field=name)
