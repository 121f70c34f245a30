"""`penstock rollout`: how the versions of a model stand on a cluster, and what they are told; what a rollout would do."""

import click

from penstock_cli.lazy_group import Entry, LazyGroup

_ENTRIES = {
    "status": Entry("penstock_cli.rollout.status", "command", "How versions stand, and why; once, live, or until a phase."),
    "pause": Entry("penstock_cli.rollout.pause", "command", "Take no further step; requests stay as they are shared."),
    "resume": Entry("penstock_cli.rollout.resume", "command", "Go on after a pause."),
    "promote": Entry("penstock_cli.rollout.promote", "command", "Let a version go to its next step, or further."),
    "rollback": Entry("penstock_cli.rollout.rollback", "command", "Take a version out: the one before it answers again."),
    "simulate": Entry(
        "penstock_cli.rollout.simulate.command", "command", "What a rollout would do on traffic like yours; made here."
    ),
}


@click.group("rollout", cls=LazyGroup, entries=_ENTRIES)
def rollout() -> None:
    """Versions of models on a Kubernetes cluster (ModelVersions): how their rollouts stand, and what they are told.

    NAME is a model, that is its InferenceService, or a ModelVersion. The cluster is the one that kubectl would ask.
    """
