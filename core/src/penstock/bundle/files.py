"""Files of a bundle: found only inside it, and believed only when their digest fits."""

import hashlib
from pathlib import Path

from penstock.bundle.manifest import FileEntry
from penstock.bundle.manifest_text import MANIFEST, check_file_name
from penstock.errors import InvalidInput, TooLarge

_BLOCK = 1 << 20
_NO_BUNDLE = "cannot be read: No such file or directory; expected the directory of a bundle, as `penstock bundle build` writes it"


def inside(directory: Path, name: str) -> Path:
    """The path of a file of the bundle. Raises InvalidInput for a name, or a symbolic link, that leads elsewhere; opens nothing.

    Links that stay inside are followed: volumes made of Kubernetes ConfigMaps consist of them.
    """
    if name != MANIFEST:
        check_file_name(name, "files")
    path = directory / name
    try:
        if not path.resolve().is_relative_to(directory.resolve()):
            raise InvalidInput("is a link that leads out of the bundle", field=name)
        if not path.is_file():
            gone = _NO_BUNDLE if name == MANIFEST else "is missing from the bundle"
            raise InvalidInput("is not a file" if path.exists() else gone, field=name)
    except RuntimeError:  # what Python before 3.13 makes of links that go round in a circle
        raise InvalidInput("is a link to itself", field=name) from None
    except OSError as error:
        raise _unreadable(name, error) from None
    return path


def digest_file(path: Path, name: str) -> FileEntry:
    """SHA-256 and length of a file, read once in blocks. Raises InvalidInput naming it if it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise _unreadable(name, error) from None
    return FileEntry(digest.hexdigest(), size)


def read_file(path: Path, name: str, most_bytes: int) -> bytes:
    """A whole file of at most `most_bytes`. Raises InvalidInput naming it if it cannot be read, TooLarge if it is longer."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise _unreadable(name, error) from None
    if len(data) > most_bytes:
        raise TooLarge(f"is too long, the limit is {most_bytes} bytes", field=name)
    return data


def digest_bytes(data: bytes) -> FileEntry:
    """SHA-256 and length of bytes."""
    return FileEntry(hashlib.sha256(data).hexdigest(), len(data))


def bundle_digest(manifest: bytes) -> str:
    """`sha256:…` of the bytes of a bundle.yaml: what the bundle is called everywhere."""
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def _unreadable(name: str, error: OSError) -> InvalidInput:
    return InvalidInput(f"cannot be read: {error.strerror}", field=name)


def check_entry(name: str, found: FileEntry, listed: FileEntry) -> None:
    """Raises InvalidInput, naming the file, if it is not the one that bundle.yaml lists."""
    if found.bytes != listed.bytes:
        raise InvalidInput(f"has {found.bytes} bytes, bundle.yaml lists {listed.bytes}; it was changed or cut off", field=name)
    if found.sha256 != listed.sha256:
        raise InvalidInput(
            f"has digest sha256:{found.sha256}, bundle.yaml lists sha256:{listed.sha256}; its content was changed", field=name
        )
