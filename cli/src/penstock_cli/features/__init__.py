"""`penstock features`: the feature store from outside: definitions, bulk loads, a look inside, and training data out of it."""

import click

from penstock_cli.lazy_group import Entry, LazyGroup

_ENTRIES = {
    "apply": Entry("penstock_cli.features.apply", "command", "Register the definitions of a Feast repository."),
    "load": Entry("penstock_cli.features.load", "command", "Fill a view from a CSV file or an SQL query."),
    "stream": Entry("penstock_cli.features.stream", "command", "Write updates from Kafka into the store, as they come."),
    "show": Entry("penstock_cli.features.show", "command", "A key's values, and how old they are."),
    "training-set": Entry(
        "penstock_cli.features.training_set", "command", "A point-in-time join through Feast, encoded: arrays ready to fit."
    ),
}


@click.group(cls=LazyGroup, entries=_ENTRIES)
def features() -> None:
    """Register, fill and look into the feature store of a Feast repository (the folder with feature_store.yaml)."""
