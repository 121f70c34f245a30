"""The operator's program, which tells how much of its processor's time goes into judging rollouts.

    python bench/timed_operator.py FILE [options of penstock-operator]
    operator --two numbers for each of TIMED--> FILE, mapped into memory --read_spent--> benchmark

A call is timed by two readings of its thread's clock, together about a microsecond, and nothing is written but the two numbers.
"""

import mmap
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from penstock_operator import judgement
from penstock_operator.__main__ import main as operate

TIMED = ("judge", "analyse")
"""Names in `penstock_operator.judgement`: `judge` is a whole judgement, from adding up what pods tell to the next status;
`analyse`, within it, the tests alone."""


class Spent(NamedTuple):
    """Since the operator began."""

    cpu_s: float
    calls: int


def main() -> None:
    path, *options = sys.argv[1:]
    tell(Path(path))
    operate(options)


def tell(path: Path) -> None:
    """Time this process's judgements from now on, into a file that was made for it."""
    with path.open("r+b") as file:
        numbers = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")
    for place, name in enumerate(TIMED):
        _replace(getattr(judgement, name), numbers[2 * place : 2 * place + 2])


def make_file(path: Path) -> None:
    """The file for an operator that is about to begin."""
    path.write_bytes(bytes(16 * len(TIMED)))


def read_spent(path: Path) -> dict[str, Spent]:
    """What each of TIMED has taken so far."""
    numbers = memoryview(path.read_bytes()).cast("d")
    return {name: Spent(numbers[2 * place], int(numbers[2 * place + 1])) for place, name in enumerate(TIMED)}


def _replace(timed: Callable[..., Any], numbers: memoryview) -> None:
    """Put a timed one in its place, under whatever name a module of the operator has it."""

    def measured(*given: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return timed(*given, **named)
        finally:
            numbers[0] += time.thread_time() - began
            numbers[1] += 1

    for module in [one for name, one in sys.modules.items() if name.startswith("penstock_operator")]:
        for name, value in list(vars(module).items()):
            if value is timed:
                setattr(module, name, measured)


if __name__ == "__main__":
    main()
