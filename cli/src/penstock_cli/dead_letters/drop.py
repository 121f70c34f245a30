"""`penstock dead-letters drop`: left out of what is shown and replayed."""

from typing import Any

import click

from penstock_cli.dead_letters.choosing import broker, choices, open_box, wanted_of
from penstock_cli.dead_letters.seeing_to import check_chosen, seen_to
from penstock_cli.errors import Command


@broker
@choices
@click.command("drop", cls=Command)
@click.argument("model")
@click.option("--all", "everything", is_flag=True, help="All that have not been replayed or dropped.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
def command(
    model: str,
    reason: str | None,
    since: float | None,
    ids: tuple[str, ...],
    everything: bool,
    limit: int | None,
    **options: Any,
) -> int:
    """Leave dead letters of MODEL out of what is listed and replayed from now on.

    Nothing is deleted: the topic keeps them for as long as it keeps records, and `list --all` shows them.
    """
    check_chosen(reason, since, ids, everything)
    box, wanted = open_box(model, options), wanted_of(reason, since, ids)
    return seen_to(lambda: box.drop(wanted, limit), "dropped")
