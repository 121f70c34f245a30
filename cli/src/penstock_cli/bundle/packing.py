"""A bundle as a tar file: verified files only, in order, without owners or times, so that one bundle is always the same bytes."""

import io
import os
import tarfile
import tempfile
from pathlib import Path

from penstock.bundle.files import inside
from penstock.bundle.manifest_text import MANIFEST
from penstock.bundle.reading import Bundle


def pack(bundle: Bundle, target: Path) -> None:
    """Write a verified bundle to `target`, whole or not at all. bundle.yaml comes first."""
    assert bundle.directory is not None
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, MANIFEST, io.BytesIO(bundle.files[MANIFEST]), len(bundle.files[MANIFEST]))
            for file_name in sorted(bundle.manifest.files):
                with inside(bundle.directory, file_name).open("rb") as content:
                    _add(tar, file_name, content, bundle.manifest.files[file_name].bytes)
        Path(name).chmod(0o644)
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, content: "io.BufferedIOBase", size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o644, 0
    tar.addfile(entry, content)
