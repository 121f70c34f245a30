"""Files of a bundle: found only inside it, and believed only when their digest fits."""

import hashlib
from pathlib import Path

from penstock.bundle.manifest import FileEntry
from penstock.bundle.manifest_text import check_file_name
from penstock.errors import InvalidInput

_BLOCK = 1 << 20


def inside(directory: Path, name: str) -> Path:
    """The path of a file of the bundle. Raises InvalidInput for a name, or a symbolic link, that leads elsewhere; opens nothing.

    Links that stay inside are followed: volumes made of Kubernetes ConfigMaps consist of them.
    """
    check_file_name(name, "files")
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise InvalidInput("is a link that leads out of the bundle", field=name)
    if not path.is_file():
        raise InvalidInput("is missing from the bundle" if not path.exists() else "is not a file", field=name)
    return path


def digest_file(path: Path) -> FileEntry:
    """SHA-256 and length of a file, read once in blocks."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return FileEntry(digest.hexdigest(), size)


def digest_bytes(data: bytes) -> FileEntry:
    """SHA-256 and length of bytes."""
    return FileEntry(hashlib.sha256(data).hexdigest(), len(data))


def check_entry(name: str, found: FileEntry, listed: FileEntry) -> None:
    """Raises InvalidInput, naming the file, if it is not the one that bundle.yaml lists."""
    if found.bytes != listed.bytes:
        raise InvalidInput(f"has {found.bytes} bytes, bundle.yaml lists {listed.bytes}; it was changed or cut off", field=name)
    if found.sha256 != listed.sha256:
        raise InvalidInput(
            f"has digest sha256:{found.sha256}, bundle.yaml lists sha256:{listed.sha256}; its content was changed", field=name
        )
