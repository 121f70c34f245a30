"""`penstock bundle`: from an ONNX model and a feature spec to one verified thing that can be shipped, and back to predictions.

Commands are imported when they are called for: `--help` must not wait for onnx and pandas.
"""

import importlib

import click

_COMMANDS = {
    "fit": "Fill in what a draft spec leaves out, from training data.",
    "build": "Make a bundle of a model and its feature spec.",
    "verify": "Check every digest and run the golden examples.",
    "show": "What a bundle is: name, digest, signature, features, files.",
    "pack": "A bundle as one tar file, the same bytes every time.",
    "run": "Predict rows with a bundle, here and now.",
}


class BundleGroup(click.Group):
    """The group, with commands loaded by name from modules beside this one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return super().get_command(ctx, name)
        module = importlib.import_module(f"penstock_cli.bundle.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=BundleGroup)
def bundle() -> None:
    """Build, check and try bundles: a model with everything that decides its predictions, under one digest."""
