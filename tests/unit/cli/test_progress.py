"""Progress of long work: shown on a terminal, cleared at the end, and not a byte of it in a pipe."""

import io
from collections.abc import Callable

import pytest

from penstock_cli.features.progress import LoadProgress
from penstock_cli.progress import Progress


class Stderr(io.StringIO):
    """Standard error, a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def load() -> None:
    with LoadProgress("flights", 1000) as bar:
        bar.show(500, 1234, 2)


def count() -> None:
    with LoadProgress("flights", None) as bar:
        bar.show(0, 7, 0)


def steps() -> None:
    with Progress("building") as step:
        step.say("encoder.onnx")


@pytest.mark.parametrize(
    ("work", "words"),
    [(load, ("flights", "50%", "1,234 rows, 2 rejected")), (count, ("flights", "7 rows")), (steps, ("building: encoder.onnx",))],
)
def test_it_is_told_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], None], words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for terminal in (True, False):
        stderr = Stderr(terminal)
        with monkeypatch.context() as patched:
            patched.setattr("sys.stderr", stderr)
            work()
        said = stderr.getvalue()
        assert all(word in said for word in words) if terminal else said == "", said
