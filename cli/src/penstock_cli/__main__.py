"""`penstock`: the command line. Commands are imported when they are called for, so that `--help` answers at once.

penstock serve | predict | bundle … | features …
"""

import importlib
import sys
from collections.abc import Sequence

import click

from penstock import __version__
from penstock_cli.errors import run_reported

# Name -> module, the command's attribute in it, and what `--help` says without importing it.
_COMMANDS = {
    "serve": ("penstock_cli.serve", "serve", "Serve bundles: everything in one process, no broker, no cluster, no GPU."),
    "predict": ("penstock_cli.predict", "predict", "Ask a running server for predictions."),
    "bundle": ("penstock_cli.bundle", "bundle", "Make a bundle of a model and its features; check it, show it, try it."),
    "features": ("penstock_cli.features", "features", "Define, load and look at stored features; make training sets."),
}

_EPILOG = "A first try: penstock serve DIRECTORY-WITH-A-model.onnx, then penstock predict --help."


class Penstock(click.Group):
    """The group of all commands, each loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group(cls=Penstock, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="penstock")
def penstock() -> None:
    """Serve ONNX models with stored features."""


def main(argv: Sequence[str] | None = None) -> int:
    """The program; its exit status: 0, 1 for a fault that the message explains, 2 for wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_reported(lambda: penstock.main(arguments, prog_name="penstock", standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
