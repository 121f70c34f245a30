"""`penstock features`: the feature store from the outside: definitions, bulk loads, a look inside, and training data out of it.

Commands are imported when they are called for: `--help` must not wait for Feast, whose import takes seconds.
"""

import importlib

import click

_COMMANDS = {
    "apply": "Register the definitions of a Feast repository.",
    "load": "Fill a view from a CSV file or an SQL query.",
    "show": "A key's values, and how old they are.",
    "training-set": "A point-in-time join through Feast, encoded: arrays ready to fit.",
}


class FeaturesGroup(click.Group):
    """The group, with commands loaded by name from modules beside this one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return super().get_command(ctx, name)
        module = importlib.import_module(f"penstock_cli.features.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=FeaturesGroup)
def features() -> None:
    """Register, fill and look into the feature store of a Feast repository (the folder with feature_store.yaml)."""
