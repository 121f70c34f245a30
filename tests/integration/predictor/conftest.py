"""Models out of object stores, the source at an address and what it brings; callers who ask while models change."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.testing.raw_http import RawConnection, raw_request
from penstock.testing.server import ServerProcess
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


GONE = "gone"
Ask = Callable[[], tuple[str, float]]
"""Asks once: the bundle that answered and its answer; GONE where the model was said not to be there. Raises for all else."""


class Callers:
    """A thread for each way in, which asks without a pause and checks each answer against the bundle that it names."""

    def __init__(self, asks: dict[str, Ask], expected: dict[str, float]) -> None:
        self.expected = expected
        self.wrong: list[str] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.changed = threading.Condition()
        self.ending = threading.Event()
        self.ways = list(asks)
        self.threads = [threading.Thread(target=self._run, args=item) for item in asks.items()]

    def __enter__(self) -> "Callers":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(60)

    def wait_for(self, label: str, count: int = 3) -> None:
        """Until each way in had so many more answers of this bundle."""
        with self.changed:
            wanted = {way: self.counts[way, label] + count for way in self.ways}
            reached = self.changed.wait_for(
                lambda: bool(self.wrong) or all(self.counts[way, label] >= n for way, n in wanted.items()), 60
            )
        assert self.wrong == []
        assert reached, self.counts

    def _run(self, way: str, ask: Ask) -> None:
        while not self.ending.is_set():
            try:
                label, value = ask()
                wrong = None if abs(value - self.expected[label]) < 1e-5 else f"{way}: {label} gave {value}"
            except Exception as error:
                label, wrong = "", f"{way}: {error!r}"
            with self.changed:
                self.counts[way, label] += 1
                self.wrong += [wrong] if wrong else []
                self.changed.notify_all()
            if wrong:
                return


@pytest.fixture
def callers() -> type[Callers]:
    """`callers(asks, expected)`: an `Ask` for each way in, and each bundle's answer by its label."""
    return Callers


@pytest.fixture
def over_rest() -> Callable[[ServerProcess, str, Any], AbstractContextManager[Ask]]:
    """`over_rest(server, path, body)`: a way in, on a connection of its own."""

    @contextmanager
    def connected(server: ServerProcess, path: str, body: Any) -> Iterator[Ask]:
        request = raw_request("POST", path, json.dumps(body).encode())
        with RawConnection(server.port) as connection:

            def ask() -> tuple[str, float]:
                answer = connection.send(request).answer()
                if answer.status == 404 and "no model 'm'" in answer.json()["error"]:
                    return GONE, 0.0
                assert answer.status == 200, answer
                found = answer.json()
                values = found["outputs"][0]["data"] if "outputs" in found else found["predictions"][0]
                return answer.headers["penstock-bundle"], float(np.ravel(values)[0])

            yield ask

    return connected
