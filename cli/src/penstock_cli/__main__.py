"""`penstock`: the command line. Commands are imported when they are called for, so that `--help` answers at once.

penstock serve | predict | bundle … | features … | keys … | dead-letters … | rollout … | replay | feedback …
"""

import sys
from collections.abc import Sequence

import click

from penstock import __version__
from penstock_cli.errors import run_reported
from penstock_cli.lazy_group import Entry, LazyGroup

_ENTRIES = {
    "serve": Entry("penstock_cli.serve", "serve", "Serve bundles: everything in one process, no broker, no cluster, no GPU."),
    "predict": Entry("penstock_cli.predict", "predict", "Ask a running server for predictions."),
    "bundle": Entry("penstock_cli.bundle", "bundle", "Make a bundle of a model and its features; check it, show it, try it."),
    "keys": Entry("penstock_cli.keys", "keys", "Make API keys for callers; see what a file of them allows."),
    "features": Entry("penstock_cli.features", "features", "Define, load and look at stored features; make training sets."),
    "dead-letters": Entry(
        "penstock_cli.dead_letters", "dead_letters", "Requests on Kafka that could not be predicted: list, replay."
    ),
    "replay": Entry("penstock_cli.replay", "command", "Predict again what a log says was predicted; it must come out the same."),
    "feedback": Entry(
        "penstock_cli.feedback", "feedback", "How good predictions were, by their outcomes; deletion from their log."
    ),
    "rollout": Entry("penstock_cli.rollout", "rollout", "Versions of models on a cluster: how they stand; go on, hold, back."),
}

_EPILOG = "A first try: penstock serve DIRECTORY-WITH-A-model.onnx, then penstock predict --help."


@click.group(cls=LazyGroup, entries=_ENTRIES, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="penstock")
def penstock() -> None:
    """Serve ONNX models with stored features."""


def main(argv: Sequence[str] | None = None) -> int:
    """The program; its exit status: 0, 1 for a fault that the message explains, 2 for wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_reported(lambda: penstock.main(arguments, prog_name="penstock", standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
