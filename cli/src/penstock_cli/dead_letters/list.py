"""`penstock dead-letters list`: which requests could not be predicted, and why."""

import json
from datetime import UTC, datetime
from typing import Any

import click

from penstock_cli.dead_letters.choosing import broker, choices, open_box, wanted_of
from penstock_cli.errors import Command
from penstock_transformer.worker.dead_letter_box import Filed

_MESSAGE_SHOWN = 100


@broker
@choices
@click.command("list", cls=Command)
@click.argument("model")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, help="The newest so many [50].")
@click.option("--all", "everything", is_flag=True, help="Those that were replayed or dropped, too.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def command(
    model: str,
    reason: str | None,
    since: float | None,
    ids: tuple[str, ...],
    limit: int,
    everything: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """List the dead letters of MODEL, oldest first: when, why, which request."""
    found = open_box(model, options).find(wanted_of(reason, since, ids, done=everything), limit)
    if as_json:
        for filed in found:
            click.echo(json.dumps(described(filed), ensure_ascii=False))
        return
    rows = [["failed", "reason", "id", "dead letter", "message"]]
    rows += [_row(filed) for filed in found]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows if found else []:
        click.echo("  ".join([f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)] + row[-1:]).rstrip())
    click.echo(
        f"{len(found)} dead letter{'' if len(found) == 1 else 's'}{' (the newest)' if len(found) == limit else ''}", err=True
    )


def described(filed: Filed) -> dict[str, Any]:
    """A letter as JSON values, without what was sent."""
    letter, mark = filed
    return {
        "id": letter.id,
        "reason": letter.reason,
        "message": letter.message,
        "field": letter.field,
        "request": letter.position,
        "dead_letter": letter.place,
        "attempts": letter.attempts,
        "failed_at": _moment(letter.since_s),
        "bytes": len(letter.value or b""),
        "seen_to": None if mark is None else {"what": mark.what, "at": _moment(mark.at_s)},
    }


def _row(filed: Filed) -> list[str]:
    letter, mark = filed
    said = f"{letter.field}: {letter.message}" if letter.field else letter.message
    said = said if len(said) <= _MESSAGE_SHOWN else said[: _MESSAGE_SHOWN - 1] + "…"
    state = f"({mark.what}) " if mark is not None else ""
    return [printable(cell) for cell in (_moment(letter.since_s)[:19], letter.reason, letter.id, letter.place, state + said)]


def printable(text: str) -> str:
    """Text without what would steer a terminal: anybody may have written it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
