"""`penstock feedback`: how good predictions were by what became known later, and deletion out of their log."""

import click

from penstock_cli.lazy_group import Entry, LazyGroup

_ENTRIES = {
    "quality": Entry("penstock_cli.feedback.quality", "command", "How good each bundle's predictions were, by their outcomes."),
    "watch": Entry(
        "penstock_cli.feedback.watch", "command", "Whether it is time to retrain: a log held to the bounds of a file."
    ),
    "training-set": Entry(
        "penstock_cli.feedback.training_set", "command", "A log's rows with their outcomes, as a table to train on."
    ),
    "delete": Entry("penstock_cli.feedback.delete", "command", "Remove what a log says of a record, or of a prediction."),
}


@click.group("feedback", cls=LazyGroup, entries=_ENTRIES)
def feedback() -> None:
    """A log of predictions and their outcomes: quality, bounds, deletion."""
