"""docs/rollouts.md: every command and option that it names is there, and every exit status of a wait is told."""

import re
from pathlib import Path

import click

from penstock_cli.rollout import rollout
from penstock_cli.rollout.waiting import Outcome

PAGE = (Path(__file__).parents[3] / "docs" / "rollouts.md").read_text()


def test_what_the_page_names_is_there() -> None:
    context = click.Context(rollout)
    commands = {name: rollout.get_command(context, name) for name in rollout.list_commands(context)}
    assert set(re.findall(r"^\| `(\w+) ", PAGE, re.MULTILINE)) == set(commands)
    options = {
        spelled for found in commands.values() if found for one in found.params for spelled in (*one.opts, *one.secondary_opts)
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) <= options
    told = {int(status) for status in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
    assert told >= {int(one) for one in Outcome}
