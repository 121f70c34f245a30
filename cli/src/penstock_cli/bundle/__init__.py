"""`penstock bundle`: from an ONNX model and a feature spec to one verified thing that can be shipped, and back to predictions."""

import click

from penstock_cli.lazy_group import Entry, LazyGroup

_ENTRIES = {
    "fit": Entry("penstock_cli.bundle.fit", "command", "Fill in what a draft spec leaves out, from training data."),
    "build": Entry("penstock_cli.bundle.build", "command", "Make a bundle of a model and its feature spec."),
    "verify": Entry("penstock_cli.bundle.verify", "command", "Check every digest and run the golden examples."),
    "show": Entry("penstock_cli.bundle.show", "command", "What a bundle is: name, digest, signature, features, files."),
    "pack": Entry("penstock_cli.bundle.pack", "command", "A bundle as one tar file, the same bytes every time."),
    "run": Entry("penstock_cli.bundle.run", "command", "Predict rows with a bundle, here and now."),
}


@click.group(cls=LazyGroup, entries=_ENTRIES)
def bundle() -> None:
    """Build, check and try bundles: a model with everything that decides its predictions, under one digest."""
