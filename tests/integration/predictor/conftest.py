"""Models out of object stores: the source at an address, and what it brings."""

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock_predictor.source import open_source
from penstock_predictor.store.object_source import ObjectSource


@pytest.fixture
def opened() -> Callable[[str, Path], ObjectSource]:
    """`opened(address, cache)`: a source of the model `m`."""

    def open_there(address: str, cache: Path) -> ObjectSource:
        source = open_source(address, "m", cache)
        assert isinstance(source, ObjectSource)
        return source

    return open_there


@pytest.fixture
def read() -> Callable[[ObjectSource], dict[str, bytes]]:
    """`read(source)`: the files of its one model, by name."""

    def read_all(source: ObjectSource) -> dict[str, bytes]:
        (place,) = source.places()
        return {path.name: path.read_bytes() for path in place.directory.iterdir()}

    return read_all
