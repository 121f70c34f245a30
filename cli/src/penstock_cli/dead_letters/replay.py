"""`penstock dead-letters replay`: back into the requests, each once."""

from typing import Any

import click

from penstock_cli.dead_letters.choosing import broker, choices, open_box, wanted_of
from penstock_cli.dead_letters.seeing_to import check_chosen, seen_to
from penstock_cli.errors import Command


@broker
@choices
@click.command("replay", cls=Command)
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
    """Put dead letters of MODEL back into its requests, byte for byte as they came.

    A letter and the mark that it was replayed are written in one transaction: the command can be stopped at any moment and run
    again, and no letter is replayed twice or passed over. Ends with 1 if some could not be replayed.
    """
    check_chosen(reason, since, ids, everything)
    box, wanted = open_box(model, options), wanted_of(reason, since, ids)
    return seen_to(lambda: box.replay(wanted, limit), "replayed")
