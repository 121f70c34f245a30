"""External data of a model, found without running or even loading the model.

An ONNX file may keep its weights in other files, named by location. ONNX Runtime would open whatever it names, so a model from a
stranger could read files that are none of its business; versions differ in what they refuse. The locations are therefore read
here, before ONNX Runtime sees the file, and one that leads out of the model's directory, by `..`, an absolute path or a
symbolic link, is refused unopened.

The walk reads only the few fields of the protocol-buffer form where tensors can be, and steps over everything else, weights
included, without copying.

Sources: onnx.proto (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto, FunctionProto), "Protocol Buffers encoding".
"""

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from penstock.errors import InvalidInput

# Message -> field number -> the message that the field holds. What is not here cannot hold a tensor.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_MAX_DEPTH = 100


def external_files(model: Path, *, present: bool = True) -> tuple[str, ...]:
    """Locations of the model's external data, relative to its directory, sorted; `present`: refuse one that is not there.

    Raises InvalidInput if the file is not a model, or a location leads out of its directory; what it names is never opened.
    """
    try:
        with model.open("rb") as file:
            if model.stat().st_size == 0:
                raise InvalidInput("not an ONNX model: the file is empty", field=model.name)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
                found = external_locations(view, model.name)
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=model.name) from error
    for location in found:
        try:
            _check_inside(model, location, present)
        except (OSError, ValueError, RuntimeError):  # too long, a zero byte, links that go round in a circle
            raise InvalidInput(f"external data {location[:80]!r} is not the name of a file", field=model.name) from None
    return found


def external_locations(data: bytes | memoryview, name: str = "model") -> tuple[str, ...]:
    """The locations that the tensors of a serialised model name, sorted. Raises InvalidInput if it is not a model."""
    found = _found(data)
    if found is None:  # raised here and not where it was met: a traceback holds slices of the file, which then cannot be closed
        raise InvalidInput("not an ONNX model", field=name)
    return found


def _found(data: bytes | memoryview) -> tuple[str, ...] | None:
    """The locations, sorted; None if the file's structure is broken."""
    try:
        with memoryview(data) as view:
            return tuple(sorted(set(_locations(view, "model", 0))))
    except (IndexError, ValueError, RecursionError):
        return None


def _check_inside(model: Path, location: str, present: bool) -> None:
    directory = model.parent.resolve()
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    inside = bool(location) and not posix.is_absolute() and not windows.is_absolute() and ".." not in windows.parts
    if not inside or not (directory / location).resolve().is_relative_to(directory):
        raise InvalidInput(f"external data {location!r} lies outside the model's directory", field=model.name)
    if present and not (directory / location).is_file():
        raise InvalidInput(f"external data {location!r} is missing from the model's directory", field=model.name)


def _locations(data: memoryview, message: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    children = _CHILDREN[message]
    for number, value in _fields(data):
        child = children.get(number)
        if child is None or value is None:
            continue
        if child == "entry":
            entry = {n: bytes(v).decode() for n, v in _fields(value) if v is not None}
            if entry.get(1) == "location":
                yield entry.get(2, "")
        else:
            yield from _locations(value, child, depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """(number, bytes) of each length-delimited field, (number, None) of each other one. Raises ValueError, IndexError."""
    offset, end = 0, len(data)
    while offset < end:
        tag, offset = _varint(data, offset)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire == 2:
            length, offset = _varint(data, offset)
            if offset + length > end:
                raise ValueError("field longer than its message")
            yield number, data[offset : offset + length]
            offset += length
        elif wire == 0:
            _, offset = _varint(data, offset)
            yield number, None
        elif wire in (1, 5):
            offset += 8 if wire == 1 else 4
            yield number, None
        else:
            raise ValueError(f"wire type {wire}")
    if offset != end:
        raise ValueError("message ends inside a field")


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")
