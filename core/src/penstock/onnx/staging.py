"""Runs on an accelerator through buffers in pinned host memory: copies the device can make by itself, without a detour.

    feeds --copy--> pinned buffers --bound--> device --run--> pinned buffers --copy--> arrays of the caller's own

A plain run hands ONNX Runtime pageable memory, which the driver first copies to pinned memory of its own, piece by piece.
Whether staging pays depends on model, driver and sizes, so it is tried at load (`stage`): used only where it gives the same and
is measured to be cheaper. One staging serves one thread at a time, each with a session, and so with streams, of its own.

Sources: CUDA Runtime API, cudaHostRegister; ONNX Runtime, I/O Binding.
"""

import ctypes
import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from penstock.onnx.session import Session
from penstock.onnx.timing import least_s
from penstock.tensors import DATATYPES, Array

log = logging.getLogger(__name__)

Pin = Callable[[Array], bool]
"""Pins the memory of an array of bytes for as long as the array lives; whether that could be done."""

_LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so")
_PORTABLE = 1
_PAGE_BYTES = 4096
# Larger tensors go as they are: pinned memory is taken from everybody on the machine.
_MOST_BYTES = 64 * 1024 * 1024
_REPEATS = 20
_WORTH = 0.95


class Staging:
    """A session's runs through staged buffers. `by_rows`: every output has a row for each row of the inputs, so that its place
    can be made beforehand."""

    def __init__(self, session: Session, *, by_rows: bool, pin: Pin | None = None) -> None:
        self._session = session
        self._by_rows = by_rows
        self._pin = pin or pin_cuda
        self._buffers: dict[tuple[bool, str], Array] = {}
        self._outputs = {tensor.name: tensor for tensor in session.outputs}

    def run(self, feeds: dict[str, Array], outputs: Sequence[str] | None = None, *, shrink: bool = False) -> list[Array]:
        """As `Session.run`, and for the same feeds; what the session would say of wrong ones, it says."""
        names = list(self._outputs) if outputs is None else list(outputs)
        if feeds.keys() != {tensor.name for tensor in self._session.inputs}:
            return self._session.run(feeds, names, shrink=shrink)
        binding = self._session.binding()
        held = [self._bind_input(binding, name, array) for name, array in feeds.items()]
        rows = len(next(iter(feeds.values()))) if self._by_rows else 0
        places = [self._bind_output(binding, name, rows) for name in names]
        try:
            self._session.run_bound(binding, shrink=shrink)
        except Exception as error:
            raise self._session.explain(error, feeds, names) from error
        del held
        if all(place is not None for place in places):
            return [place.copy() for place in places if place is not None]
        found = binding.copy_outputs_to_cpu()
        return [array if place is None else place.copy() for place, array in zip(places, found, strict=True)]

    def _bind_input(self, binding: Any, name: str, array: Array) -> Array:
        place = self._place((True, name), array.dtype, array.shape)
        if place is None:
            place = np.ascontiguousarray(array)
        else:
            place[...] = array
        binding.bind_input(name, "cpu", 0, place.dtype, place.shape, place.ctypes.data)
        return place

    def _bind_output(self, binding: Any, name: str, rows: int) -> Array | None:
        tensor = self._outputs[name]
        if self._by_rows and rows and -1 not in tensor.shape[1:]:
            place = self._place((False, name), DATATYPES[tensor.datatype].dtype, (rows, *tensor.shape[1:]))
            if place is not None:
                binding.bind_output(name, "cpu", 0, place.dtype, place.shape, place.ctypes.data)
                return place
        binding.bind_output(name, "cpu")
        return None

    def _place(self, key: tuple[bool, str], dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> Array | None:
        """A view of the pinned buffer for a tensor, None if it is empty or too large for one."""
        nbytes = int(np.prod(shape)) * dtype.itemsize
        if not 0 < nbytes <= _MOST_BYTES:
            return None
        buffer = self._buffers.get(key)
        if buffer is None or buffer.nbytes < nbytes:
            buffer = self._buffers[key] = _aligned(1 << (nbytes - 1).bit_length())
            if not self._pin(buffer):
                log.debug("memory not pinned", extra={"bytes": buffer.nbytes})
        return buffer[:nbytes].view(dtype).reshape(shape)


def stage(session: Session, feeds: dict[str, Array], *, by_rows: bool, pin: Pin | None = None) -> bool:
    """Whether runs of this session should be staged: it is no CPU session and has no strings, and staging gives the same as a
    plain run on `feeds`, for less."""
    tensors = (*session.inputs, *session.outputs)
    if session.on_cpu or session.skipped_outputs or any(tensor.datatype == "BYTES" for tensor in tensors):
        return False
    staging = Staging(session, by_rows=by_rows, pin=pin)
    try:
        plain, staged = session.run(feeds), staging.run(feeds)
        same = all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(plain, staged, strict=True))
        cheaper = same and least_s(lambda: staging.run(feeds), _REPEATS) < _WORTH * least_s(lambda: session.run(feeds), _REPEATS)
    except Exception as error:
        log.warning("staging does not work here", extra={"model_file": session.name, "reason": str(error)})
        return False
    log.info("staging tried", extra={"model_file": session.name, "same": same, "cheaper": cheaper})
    return cheaper


def pin_cuda(buffer: Array) -> bool:
    """Register an array's memory with CUDA, and let it go again when the array does."""
    runtime = _runtime()
    if runtime is None:
        return False
    address = ctypes.c_void_p(buffer.ctypes.data)
    if runtime.cudaHostRegister(address, ctypes.c_size_t(buffer.nbytes), ctypes.c_uint(_PORTABLE)) != 0:
        return False
    weakref.finalize(buffer, runtime.cudaHostUnregister, address)
    return True


def _runtime() -> Any:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _aligned(nbytes: int) -> Array:
    """Bytes from a page's start on: whole pages are pinned, and other data of theirs with them."""
    spare = np.empty(nbytes + _PAGE_BYTES, np.uint8)
    start = -spare.ctypes.data % _PAGE_BYTES
    return spare[start : start + nbytes]
