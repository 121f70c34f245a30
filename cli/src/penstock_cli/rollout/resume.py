"""`penstock rollout resume`: on after a pause."""

import click

from penstock_cli.errors import Command
from penstock_cli.rollout.options import cluster_options
from penstock_cli.rollout.story import Story
from penstock_cli.rollout.telling import Saying, tell
from penstock_operator.model_version import PAUSED, ModelVersion


@click.command("resume", cls=Command)
@click.argument("name")
@cluster_options
def command(name: str, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
    """Let NAME go on after a pause.

    NAME is a ModelVersion, or a model: then its version that is on its way.
    """
    tell(name, kubeconfig, context, namespace, decide)


def decide(story: Story, version: ModelVersion) -> Saying:
    """Whatever stands in the annotation goes: an odd value, too."""
    del story
    if PAUSED not in version.annotations:
        return Saying(f"{version.name} is not paused", {})
    return Saying(f"{version.name} goes on", {PAUSED: None})
