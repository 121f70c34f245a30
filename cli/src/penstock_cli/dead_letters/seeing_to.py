"""What replay and drop have in common: a choice that must be made, and what is said in the end, good or not."""

from collections.abc import Callable

import click

from penstock_cli.errors import Failure
from penstock_transformer.broker.port import Fenced, Retriable
from penstock_transformer.worker.dead_letter_box import Report


def check_chosen(reason: str | None, since: float | None, ids: tuple[str, ...], everything: bool) -> None:
    """Raises UsageError unless it was said which letters are meant."""
    chosen = reason is not None or since is not None or bool(ids)
    if chosen == everything:
        raise click.UsageError("expected --all, or which are meant: --id, --reason, --since")


def seen_to(call: Callable[[], Report], what: str) -> int:
    """Make the call and print what came of it; the exit status. Raises Failure where it could not be ended."""
    try:
        report = call()
    except Fenced:
        raise Failure(
            f"another program began to see to these dead letters meanwhile; what was {what} stays {what}",
            "Run this again once it is done: no letter is taken twice.",
        ) from None
    except Retriable as error:
        raise Failure(str(error), f"What was {what} stays {what}; run this again for the rest.") from None
    for letter in report.done:
        click.echo(f"{what}  {letter.place}  {letter.id}")
    for letter, why in report.refused:
        click.echo(f"not {what}  {letter.place}  {letter.id}: {why}", err=True)
    refused = f", {len(report.refused)} not" if report.refused else ""
    click.echo(f"{len(report.done)} {what}{refused}", err=True)
    return 1 if report.refused else 0
