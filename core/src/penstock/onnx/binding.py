"""Runs of one fixed shape on buffers that are bound once: cheaper than a plain run where the model itself costs next to nothing.

A plain run makes an OrtValue of every input and an array of every output each time; bound buffers leave two small copies. Whether
that pays depends on the model, so it is measured (`bind`), and there is no bound run where it does not.

One bound run serves one thread at a time: its buffers are its own.
"""

import numpy as np

from penstock.onnx.session import Session
from penstock.onnx.timing import least_s
from penstock.tensors import Array

_REPEATS = 40
# A gain below this is within what measuring a few microseconds can tell.
_WORTH = 0.9


class BoundRun:
    """A session's run of one shape. `run` gives all outputs, in the model's order, as arrays of the caller's own."""

    def __init__(self, session: Session, feeds: dict[str, Array], outputs: list[Array]) -> None:
        self._inputs = {name: np.array(array, order="C", copy=True) for name, array in feeds.items()}
        self._outputs = [np.empty_like(array, order="C") for array in outputs]
        self._binding = session.binding()
        for name, buffer in self._inputs.items():
            self._binding.bind_cpu_input(name, buffer)
        for tensor, buffer in zip(session.outputs, self._outputs, strict=True):
            self._binding.bind_output(tensor.name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        self._run = session.bound(self._binding)

    def run(self, feeds: dict[str, Array]) -> list[Array]:
        """Run on arrays of exactly the bound shapes and dtypes. Raises what ONNX Runtime raises: repeat with `Session.run`,
        which says what was wrong."""
        for name, buffer in self._inputs.items():
            buffer[...] = feeds[name]
        self._run()
        return [buffer.copy() for buffer in self._outputs]

    def close(self) -> None:
        """Let go of the session; `run` raises from now on."""
        del self._run, self._binding


def bind(session: Session, feeds: dict[str, Array]) -> BoundRun | None:
    """A bound run for the shapes of `feeds`, if the model allows one, it gives the same, and it is measured to be cheaper."""
    fixed = all(-1 not in tensor.shape[1:] for tensor in session.outputs)
    if not fixed or any(tensor.datatype == "BYTES" for tensor in (*session.inputs, *session.outputs)):
        return None
    if session.skipped_outputs or any(not provider.startswith("CPU") for provider in session.providers):
        return None
    expected = session.run(feeds)
    if any(array.size == 0 for array in (*feeds.values(), *expected)):
        return None
    bound = BoundRun(session, feeds, expected)
    if not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(expected, bound.run(feeds), strict=True)):
        return None
    return bound if least_s(lambda: bound.run(feeds), _REPEATS) < _WORTH * least_s(lambda: session.run(feeds), _REPEATS) else None
