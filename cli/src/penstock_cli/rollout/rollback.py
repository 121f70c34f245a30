"""`penstock rollout rollback`: a version gives its requests back, and stays out."""

import click

from penstock.errors import Conflict
from penstock_cli.errors import Command
from penstock_cli.rollout.options import cluster_options
from penstock_cli.rollout.story import Story, is_ended
from penstock_cli.rollout.telling import Saying, tell
from penstock_operator.model_version import ROLLBACK, ModelVersion
from penstock_operator.roles import stage_of
from penstock_operator.stage import Stage

_REASON_CHARACTERS = 512


@click.command("rollback", cls=Command)
@click.argument("name")
@cluster_options
@click.option("--reason", default="asked for on the command line", metavar="TEXT", help="Kept in its status and in the event.")
def command(name: str, kubeconfig: str | None, context: str | None, namespace: str | None, reason: str) -> None:
    """Take NAME out at once, paused or not: the version before it answers all requests again, and NAME never comes back.

    NAME is a ModelVersion, or a model: then its version that is on its way. A version that is Live has to be named itself.
    """
    tell(name, kubeconfig, context, namespace, lambda story, version: decide(story, version, reason))


def decide(story: Story, version: ModelVersion, reason: str) -> Saying:
    """Raises Conflict for a version that has ended otherwise."""
    if ROLLBACK in version.annotations:
        return Saying(f"{version.name} is rolled back already ({version.annotations[ROLLBACK]})", {})
    if is_ended(version):
        raise Conflict(f"{version.name} is {version.status.phase}: it gets no requests")
    annotations = {ROLLBACK: reason.strip()[:_REASON_CHARACTERS] or "no reason given"}
    if stage_of(version) is Stage.KEPT:
        return Saying(f"{version.name} is not kept for a roll-back any longer", annotations)
    if version is story.live:
        kept = [one for one in story.versions if stage_of(one) is Stage.KEPT]
        if not kept and story.candidate is None:
            return Saying(f"{version.name} gives its requests back as soon as another version or bundle can answer", annotations)
    return Saying(f"{version.name} gives its requests back", annotations)
