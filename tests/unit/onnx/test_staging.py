"""Runs through staged buffers, with the CPU in the accelerator's place: the same answers, and used only where they are cheaper.

What a GPU does with pinned memory is not shown here.
"""

from typing import Any

import numpy as np
import pytest

from penstock.errors import InvalidInput
from penstock.onnx import Session, SessionSettings, load
from penstock.onnx import staging as module
from penstock.onnx.exhaustion import OutOfMemory
from penstock.onnx.staging import Staging, pin_cuda, stage
from penstock.tensors import Array
from penstock.testing import models


class Pins:
    """A pin that notes what it was given."""

    def __init__(self, works: bool = True) -> None:
        self.buffers: list[Array] = []
        self.works = works

    def __call__(self, buffer: Array) -> bool:
        self.buffers.append(buffer)
        return self.works


def opened(model: bytes) -> Session:
    return load(model, SessionSettings(threads=1))


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("by_rows", [True, False])
def test_any_shapes_give_what_a_plain_run_gives(by_rows: bool, works: bool) -> None:
    session, pins = opened(models.several()), Pins(works)
    staging = Staging(session, by_rows=by_rows, pin=pins)
    rng = np.random.default_rng(0)
    kept: list[tuple[list[Array], list[Array]]] = []
    for rows in (1, 5, 3, 64, 2, 0):
        feeds = {"a": rng.normal(size=(rows, 2)).astype(np.float32), "b": rng.integers(0, 9, rows)}
        kept += [(session.run(feeds, names), staging.run(feeds, names)) for names in (None, ["b2"], ["big", "sum"])]
    # Compared at the end: a later run must not write into an earlier one's answers.
    for plain, staged in kept:
        assert [a.tolist() for a in plain] == [b.tolist() for b in staged]
        assert [a.dtype for a in plain] == [b.dtype for b in staged]
    assert all(buffer.ctypes.data % 4096 == 0 for buffer in pins.buffers)
    # Buffers grow by doubling: far fewer than runs.
    assert 0 < len(pins.buffers) <= 20


def test_what_varies_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    session, pins = opened(models.doubled(axes=("rows", "length"))), Pins()
    staging = Staging(session, by_rows=True, pin=pins)
    for length in (3, 7, 100):
        feeds = {"x": np.ones((2, length), np.float32)}
        assert staging.run(feeds)[0].tolist() == [[2.0] * length] * 2
    assert max(buffer.nbytes for buffer in pins.buffers) <= 128


def test_errors_say_what_a_plain_run_says() -> None:
    session = opened(models.embedding(5))
    staging = Staging(session, by_rows=True, pin=Pins())
    for feeds, message in (
        ({"index": np.array([99])}, "out of data bounds"),
        ({}, "missing"),
        ({"other": np.array([1])}, "missing"),
    ):
        with pytest.raises(InvalidInput, match=message):
            staging.run(feeds)

    def exhausted(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")

    session.run_bound = exhausted  # type: ignore[method-assign]
    with pytest.raises(OutOfMemory):
        staging.run({"index": np.array([1])})


def as_gpu(session: Session) -> Session:
    session.on_cpu = False
    return session


def test_staging_is_used_only_where_it_is_the_same_and_cheaper(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = {"x": np.ones((4, 3), np.float32)}
    costs = iter((1.0, 2.0, 2.0, 1.0))
    monkeypatch.setattr(module, "least_s", lambda _call, _repeats: next(costs))
    assert not stage(opened(models.doubled()), feeds, by_rows=True)
    assert stage(as_gpu(opened(models.doubled())), feeds, by_rows=True, pin=Pins())
    assert not stage(as_gpu(opened(models.doubled())), feeds, by_rows=True, pin=Pins())
    assert not stage(as_gpu(opened(models.noisy())), feeds, by_rows=True, pin=Pins())
    words = {"word": np.array([["a"]], object)}
    assert not stage(as_gpu(opened(models.labels())), words, by_rows=True)


def test_staging_that_breaks_is_not_used() -> None:
    def broken(_: Array) -> bool:
        raise OSError("no such driver")

    assert not stage(as_gpu(opened(models.doubled())), {"x": np.ones((4, 3), np.float32)}, by_rows=True, pin=broken)


def test_memory_is_pinned_by_cudas_runtime_and_let_go_with_the_array(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int, int]] = []

    class Runtime:
        result = 0

        def cudaHostRegister(self, address: Any, nbytes: Any, flags: Any) -> int:  # noqa: N802 - CUDA's name
            calls.append(("register", nbytes.value, flags.value))
            return self.result

        def cudaHostUnregister(self, address: Any) -> int:  # noqa: N802 - CUDA's name
            calls.append(("unregister", 0, 0))
            return 0

    runtime = Runtime()
    monkeypatch.setattr(module, "_runtime", lambda: runtime)
    buffer = np.empty(4096, np.uint8)
    assert pin_cuda(buffer)
    del buffer
    assert calls == [("register", 4096, 1), ("unregister", 0, 0)]
    runtime.result = 2
    assert not pin_cuda(np.empty(4096, np.uint8))
    assert calls[2:] == [("register", 4096, 1)]
    monkeypatch.setattr(module, "_runtime", lambda: None)
    assert not pin_cuda(np.empty(4096, np.uint8))
