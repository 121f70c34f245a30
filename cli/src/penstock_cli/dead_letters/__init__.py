"""`penstock dead-letters`: the requests of a Kafka topic that could not be predicted; look at them, put them back, drop them."""

import click

from penstock_cli.lazy_group import Entry, LazyGroup

_ENTRIES = {
    "list": Entry("penstock_cli.dead_letters.list", "command", "Which requests could not be predicted, and why."),
    "show": Entry("penstock_cli.dead_letters.show", "command", "One of them whole: why, headers, and what was sent."),
    "replay": Entry("penstock_cli.dead_letters.replay", "command", "Put them back into the requests, each once."),
    "drop": Entry("penstock_cli.dead_letters.drop", "command", "Leave them out from now on."),
}


@click.group("dead-letters", cls=LazyGroup, entries=_ENTRIES)
def dead_letters() -> None:
    """Requests of a Kafka topic that could not be predicted: look at them, put them back, drop them.

    MODEL may also be SET.updates: updates of that feature set that could not be written.
    """
