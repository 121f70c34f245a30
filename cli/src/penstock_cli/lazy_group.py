"""A group of commands that are imported when they are called for: `--help` must not wait for Feast, onnx or pandas."""

import importlib
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True)
class Entry:
    """A command that is not imported yet: its module, the command's name in it, and what the group's `--help` says of it."""

    module: str
    attribute: str
    summary: str


class LazyGroup(click.Group):
    """A group whose commands are `entries`, by name and in their order."""

    def __init__(self, *args: Any, entries: dict[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.entries)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        entry = self.entries.get(name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(entry.module), entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])
