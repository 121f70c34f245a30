"""Where changes are shown as they come: a picture that a terminal draws anew, a line for each change, or JSON lines.

Invariant: a terminal is written to once for each picture, and only what differs; a pipe gets each thing once.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from penstock_cli.rollout.document import document_of
from penstock_cli.rollout.drawing import drawn, lines_of
from penstock_cli.rollout.story import Story


class Screen(Protocol):
    """Shows stories; `away` says why they are old, None if they are not. `every_s`: how often it wants to be shown the same
    anew, for the times that go by, None: never."""

    every_s: float | None

    def show(self, stories: Sequence[Story], away: str | None) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Picture:
    """A terminal, drawn anew in place. The last picture stays when it is left."""

    every_s: float | None = 1.0

    def __init__(self, console: Console, focus: str | None) -> None:
        self._focus = focus
        # Drawn when there is something to draw, and not by a clock: nothing flickers.
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="ellipsis")

    def show(self, stories: Sequence[Story], away: str | None) -> None:
        """Draw it."""
        picture = drawn(stories, time.time(), focus=self._focus, live=True)
        told = [Text(f"{away}; trying again", "yellow")] if away else []
        self._live.update(Group(picture, *told), refresh=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)


class Lines:
    """A line for each version when it is first seen and when it changes."""

    every_s: float | None = None

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._shown: dict[tuple[str, str], str] = {}
        self._away: str | None = None

    def show(self, stories: Sequence[Story], away: str | None) -> None:
        """Print what is new."""
        lines = lines_of(stories)
        new = [line for place, line in lines.items() if self._shown.get(place) != line]
        new += [f"{name}  is gone" for namespace, name in self._shown.keys() - lines.keys() if away is None]
        if away != self._away:
            new.append(f"{away}; trying again" if away else "the API server is back")
        if away is None:
            self._shown = lines
        self._away = away
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        for line in new:
            print(f"{at}  {line}", file=self._out, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del kind, error, trace


class JsonLines:
    """A document a line whenever something has changed."""

    every_s: float | None = None

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._shown = ""

    def show(self, stories: Sequence[Story], away: str | None) -> None:
        """Print it if it differs from the last one."""
        text = json.dumps(document_of(stories) | {"away": away}, ensure_ascii=False)
        if text != self._shown:
            self._shown = text
            print(text, file=self._out, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del kind, error, trace


class Silent:
    """Shows nothing: only the end is of interest."""

    every_s: float | None = None

    def show(self, stories: Sequence[Story], away: str | None) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del kind, error, trace
