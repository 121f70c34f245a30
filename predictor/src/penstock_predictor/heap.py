"""The C library's heap, set so that large blocks go back to the kernel when they are freed.

glibc raises the size from which a block gets pages of its own each time such a block is freed, up to 32 MiB; from then on large
blocks lie among small ones in the heap, and one small block behind them keeps all of it resident. With sizes that callers choose
that is growth without end (docs/decisions/0008-memory.md). A fixed size ends it.
"""

import ctypes
import os

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
LARGE_BYTES = 1024 * 1024
_TRIM_BYTES = 4 * LARGE_BYTES


def steady_heap() -> bool:
    """Give blocks of a mebibyte and more pages of their own, for good; False where the C library is another, or its environment
    variables say otherwise already."""
    if any(name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) and mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES))
