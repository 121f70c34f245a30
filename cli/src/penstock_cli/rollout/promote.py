"""`penstock rollout promote`: up to the next step, or to one that is named."""

import click

from penstock.errors import Conflict, InvalidInput
from penstock_cli.errors import Command
from penstock_cli.rollout.options import cluster_options
from penstock_cli.rollout.story import is_on_its_way
from penstock_cli.rollout.telling import Saying, tell
from penstock_operator.model_version import PROMOTE, ModelVersion
from penstock_operator.roles import stage_of
from penstock_operator.stage import Stage


@click.command("promote", cls=Command)
@click.argument("name")
@cluster_options
@click.option("--to", "wanted", type=click.IntRange(1, 100), metavar="STEP", help="A later step, in per cent; 100: all requests.")
def command(name: str, kubeconfig: str | None, context: str | None, namespace: str | None, wanted: int | None) -> None:
    """Let NAME go to its next step of requests, or up to --to, step by step.

    NAME is a ModelVersion, or a model: then its version that is on its way. Each step is taken once every transformer applies the
    one before it. What was allowed stays so.
    """
    tell(name, kubeconfig, context, namespace, lambda _, version: decide(version, wanted))


def decide(version: ModelVersion, wanted: int | None) -> Saying:
    """Raises Conflict for a version that has ended, InvalidInput for a per cent that is none of its steps."""
    rollout, weight, stage = version.spec.rollout, version.status.weight, stage_of(version)
    if stage is Stage.LIVE:
        return Saying(f"{version.name} is Live already", {})
    if not is_on_its_way(version):
        raise Conflict(f"{version.name} is {version.status.phase}: it gets no requests any more; make another ModelVersion")
    if rollout.strategy == "immediate":
        return Saying(f"{version.name} goes to all requests by itself (strategy immediate)", {})
    if wanted is not None and wanted not in rollout.steps:
        raise InvalidInput(f"expected one of its steps {', '.join(map(str, rollout.steps))}, got {wanted}", field="--to")
    goal, allowed = wanted or rollout.step_after(weight), version.promoted_to or 0
    paused = f"; it is paused: penstock rollout resume {version.name}" if version.is_paused else ""
    if allowed >= goal or (wanted is not None and weight >= goal):
        return Saying(f"{version.name} may go to {max(allowed, goal)} % already; it has {weight} %{paused}", {})
    return Saying(f"{version.name} may go to {goal} % of requests; it has {weight} %{paused}", {PROMOTE: str(goal)})
