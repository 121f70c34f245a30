"""Which part of a log a command is about: the options that they share."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from penstock.errors import InvalidInput
from penstock_transformer.feedback.folder import LogFolder, log_folder

F = TypeVar("F", bound=Callable[..., Any])


def log_options(command: F) -> F:
    """`--model`, `--since`, `--until`, `--limit`."""
    for decorate in (
        click.option("--limit", type=click.IntRange(min=1), help="At most so many rows."),
        click.option("--until", help="Only what was predicted before then, as 2026-01-31 or 2026-01-31T12:00:00Z."),
        click.option("--since", help="Only what was predicted then or later."),
        click.option("--model", help="Which model's; needed where the log has several."),
    ):
        command = decorate(command)
    return command


def chosen_folder(log: Path, model: str | None) -> LogFolder:
    """The model's part of a log. Raises NotFound, InvalidInput."""
    return log_folder(log, model)


def moments(since: str | None, until: str | None) -> tuple[float, float]:
    """Seconds since 1970 of both bounds. Raises InvalidInput naming the option."""
    return _seconds(since, "--since", 0.0), _seconds(until, "--until", float("inf"))


def _seconds(text: str | None, option: str, default: float) -> float:
    if text is None:
        return default
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"expected a time such as 2026-01-31T12:00:00Z, got {text!r:.80}", field=option) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
