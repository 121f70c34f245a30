"""`penstock rollout pause`: no further step is taken."""

import click

from penstock.errors import Conflict
from penstock_cli.errors import Command
from penstock_cli.rollout.options import cluster_options
from penstock_cli.rollout.story import Story, is_on_its_way
from penstock_cli.rollout.telling import Saying, tell
from penstock_operator.model_version import PAUSED, ModelVersion


@click.command("pause", cls=Command)
@click.argument("name")
@cluster_options
def command(name: str, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
    """Take no further step with NAME: requests stay shared as they are, until it is resumed.

    NAME is a ModelVersion, or a model: then its version that is on its way. A roll-back goes on in spite of it.
    """
    tell(name, kubeconfig, context, namespace, decide)


def decide(story: Story, version: ModelVersion) -> Saying:
    """Raises Conflict for a version that is not on its way."""
    del story
    if not is_on_its_way(version):
        raise Conflict(f"{version.name} is {version.status.phase}: there is nothing to pause")
    if version.is_paused:
        return Saying(f"{version.name} is paused already", {})
    return Saying(f"{version.name} takes no further step; it has {version.status.weight} % of requests", {PAUSED: "true"})
