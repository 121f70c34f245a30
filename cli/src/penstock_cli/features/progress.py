"""How far a load is, on the terminal: a bar where the size is known, a count where it is not, nothing in a pipe."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class LoadProgress:
    """A bar over the bytes of a file, or a running count of rows."""

    def __init__(self, what: str, size: int | None) -> None:
        counts = TextColumn("{task.fields[counts]}")
        columns = [TextColumn(what), BarColumn(), TaskProgressColumn(), counts, TimeElapsedColumn()]
        if size is not None:
            columns.append(TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("load", total=size, counts="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def show(self, position: int, rows: int, rejected: int) -> None:
        """Move to `position` bytes."""
        counts = f"{rows:,} rows" + (f", {rejected:,} rejected" if rejected else "")
        self._bar.update(self._task, completed=position, counts=counts)
