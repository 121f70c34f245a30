"""The options by which every rollout command finds its cluster; spelled as kubectl spells them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def cluster_options(command: F) -> F:
    """`--kubeconfig`, `--context`, `-n/--namespace`, handed on as `kubeconfig`, `context`, `namespace`."""
    for option in (
        click.option("-n", "--namespace", metavar="NAME", help="Another namespace than the context's."),
        click.option("--context", metavar="NAME", help="Another context than the kubeconfig's current one."),
        click.option("--kubeconfig", metavar="FILE", help="Another file than $KUBECONFIG or ~/.kube/config."),
    ):
        command = option(command)
    return command
