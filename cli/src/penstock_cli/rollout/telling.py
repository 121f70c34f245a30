"""What pause, resume, promote and rollback have in common: look, decide, write annotations on the version as it was seen.

    versions -> target_of -> decide(story, version) -> Saying --annotate--> ModelVersion        changed meanwhile: once more

Invariant: nothing is written that was decided on another state than the one that it changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import click

from penstock.errors import Conflict
from penstock_cli.rollout.choosing import target_of
from penstock_cli.rollout.cluster import open_cluster
from penstock_cli.rollout.story import Story
from penstock_operator.model_version import ModelVersion

_TRIES = 8
"""The operator writes statuses meanwhile; each try reads anew."""


@dataclass(frozen=True, slots=True)
class Saying:
    """What is told to the user, and what is written for the operator; `annotations` empty: nothing, it is so already."""

    text: str
    annotations: Mapping[str, str | None]


Decide = Callable[[Story, ModelVersion], Saying]


def tell(name: str, kubeconfig: str | None, context: str | None, namespace: str | None, decide: Decide) -> None:
    """Write what `decide` makes of the version that the name means, and print it. Raises what decide raises."""
    cluster = open_cluster(kubeconfig, context, namespace)
    for tries in range(1, _TRIES + 1):
        story, version = target_of(cluster.versions()[0], name)
        if version.deleted:
            raise Conflict(f"{version.name} is being deleted")
        saying = decide(story, version)
        try:
            if saying.annotations:
                cluster.annotate(version, dict(saying.annotations))
            break
        except Conflict:
            if tries == _TRIES:
                raise
    click.echo(saying.text)
