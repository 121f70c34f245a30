"""Progress on the terminal, on stderr: a line that rewrites itself on a terminal, nothing in a pipe."""

import sys
from types import TracebackType
from typing import Self

import click


class Progress:
    """Names the step that is under way. `say(text)` replaces what was said before; leaving clears it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write("")

    def say(self, text: str) -> None:
        """Show a step."""
        self._write(f"{self._what}: {text}")

    def _write(self, text: str) -> None:
        if self._shown:
            click.echo(f"\r\x1b[K{text[:100]}", nl=False, err=True)
