"""Memory that ran out, on the device or the host: told apart from every other way in which a run can fail.

It is the one failure that a smaller batch can mend, and that may be gone a moment later: so it is Overloaded, not Internal.
"""

from penstock.errors import Overloaded

# How ONNX Runtime, CUDA and its libraries, TensorRT and the C++ and Python allocators say it.
_SIGNS = (
    "failed to allocate memory", "out of memory", "outofmemory", "bad allocation", "bad_alloc", "std::bad_array_new_length",
    "cublas_status_alloc_failed", "cudnn_status_alloc_failed", "is smaller than requested bytes of",
)  # fmt: skip


class OutOfMemory(Overloaded):
    """A run's memory could not be had. The same request may fit later, or in smaller parts."""

    def __init__(self, message: str = "the device's memory does not hold this run now") -> None:
        super().__init__(message, retry_after_s=1.0)


def is_exhaustion(error: BaseException) -> bool:
    """Whether an exception of a run or a load says that memory ran out."""
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS)
