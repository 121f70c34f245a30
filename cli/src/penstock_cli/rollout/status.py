"""`penstock rollout status`: how the versions of a model stand: once, live, or until one has come to a phase.

open_cluster -> versions, routes -> stories -> once: drawn or JSON
             -> Following ---------> stories -> Screen, outcome_of -> exit status
"""

import json
import sys
import time
from collections.abc import Sequence

import click
from rich.console import Console

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.features.durations import read_duration
from penstock_cli.errors import Command
from penstock_cli.rollout.choosing import named, version_of
from penstock_cli.rollout.cluster import Cluster, open_cluster
from penstock_cli.rollout.document import document_of
from penstock_cli.rollout.drawing import drawn
from penstock_cli.rollout.following import Following
from penstock_cli.rollout.options import cluster_options
from penstock_cli.rollout.screens import JsonLines, Lines, Picture, Screen, Silent
from penstock_cli.rollout.story import Story, stories_of
from penstock_cli.rollout.waiting import PHASES, Outcome, outcome_of
from penstock_operator.model_version import ModelVersion
from penstock_operator.seen import Route

_PIPE_COLUMNS = 200
"""Width of a table in a pipe, where nobody says how wide it may be."""


class Duration(click.ParamType[float]):
    """Seconds of `90s`, `5m`, `1h30m`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails for what is no length of time."""
        if not isinstance(value, str):
            return float(str(value))
        try:
            return read_duration(value, "timeout")
        except InvalidInput as error:
            self.fail(error.message, param, ctx)


class Phase(click.ParamType[str]):
    """A phase, in whichever case."""

    name = "phase"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Fails for what is none."""
        found = next((phase for phase in PHASES if phase.lower() == str(value).lower()), None)
        return found or self.fail(f"expected one of {', '.join(PHASES)}, got {value!r}", param, ctx)


@click.command("status", cls=Command)
@click.argument("name", required=False)
@cluster_options
@click.option("-A", "--all-namespaces", is_flag=True, help="Models of all namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Go on, and show each change; Ctrl-C ends it.")
@click.option("--wait", "goal", type=Phase(), metavar="PHASE", help=f"Until the version is there: {', '.join(PHASES)}.")
@click.option("--timeout", type=Duration(), metavar="5m", help="How long to wait or to watch [for ever].")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="[text]")
def command(
    name: str | None,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    all_namespaces: bool,
    watch: bool,
    goal: str | None,
    timeout: float | None,
    output: str,
) -> int:
    """How the versions of NAME stand, and why; of every model without a NAME.

    NAME is a model (its InferenceService) or a ModelVersion. --wait waits for the version that is named, for the newest one of a
    model, until it is in the phase, or beyond it on the way to Live.

    Exit status: 0; 1 if the cluster cannot be asked or knows no NAME; 2 for wrong usage; with --wait 3 when the version has ended
    otherwise, so that it never comes there, and 4 when the time is over.
    """
    if goal and name is None:
        raise click.UsageError("--wait needs the NAME of a model or a version")
    if timeout is not None and not (goal or watch):
        raise click.UsageError("--timeout needs --wait or --watch")
    cluster = open_cluster(kubeconfig, context, namespace, everywhere=all_namespaces)
    view = View(cluster, name)
    view.take(cluster.versions()[0])
    if goal and len(view.stories) > 1:
        raise click.UsageError(f"{name} is there in several namespaces; say which one")
    if not (watch or goal):
        show(view, output)
        return 0
    screen = _screen(view, output, watch=watch)
    outcome = follow(cluster, view, screen, goal, timeout)
    if goal and not watch:
        show(view, output)
    if outcome is not None and outcome is not Outcome.REACHED:
        said = "the time is over" if outcome is Outcome.TIME_OVER else "it will not"
        click.echo(f"{view.awaited_name} is not {goal}: {said}.", err=True)
    return int(outcome or 0)


class View:
    """What a command shows of a cluster: the stories of one name, with their routes as last read."""

    def __init__(self, cluster: Cluster, name: str | None) -> None:
        self._cluster = cluster
        self._name = name
        self._routes: dict[tuple[str, str], Route | None] = {}
        self.stories: list[Story] = []
        self.awaited: ModelVersion | None = None
        self.awaited_name = ""

    def take(self, versions: Sequence[ModelVersion], *, again: bool = False) -> None:
        """Tell them anew. Raises NotFound for a name that nothing has; not `again`, when all of it may have been deleted."""
        mine = named(list(versions), self._name, gone=again)
        for place in {(one.namespace, one.spec.inference_service) for one in mine}:
            try:
                self._routes[place] = self._cluster.route(*place)
            except UpstreamUnavailable:
                if not again:
                    raise
        self.stories = stories_of(mine, self._routes)
        if not self.awaited_name and self._name is not None and self.stories:
            self.awaited_name = (version_of(self.stories[0], self._name) or self.stories[0].newest).name
        self.awaited = next((one for one in mine if one.name == self.awaited_name), None)

    @property
    def focus(self) -> str | None:
        """The version whose conditions are told; None: the one that matters most."""
        return self._name


def follow(cluster: Cluster, view: View, screen: Screen, goal: str | None, timeout_s: float | None) -> Outcome | None:
    """Show changes until the goal is reached or out of reach, or the time is over. None: it was watched, without a goal."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with Following(cluster) as following, screen:
        following.wait(_left(deadline, None))
        while True:
            versions, away = following.look()
            if away is None:
                view.take(versions, again=True)
            screen.show(view.stories, None if away is None else away.message)
            outcome = outcome_of(view.awaited, goal) if goal and away is None else None
            if outcome is not None:
                return outcome
            while not following.wait(_left(deadline, screen.every_s)):
                if deadline is not None and time.monotonic() >= deadline:
                    return Outcome.TIME_OVER if goal else None
                screen.show(view.stories, None if away is None else away.message)


def show(view: View, output: str) -> None:
    """Print how it stands now."""
    if output == "json":
        click.echo(json.dumps(document_of(view.stories), indent=2, ensure_ascii=False))
        return
    picture = drawn(view.stories, time.time(), focus=view.focus)
    if sys.stdout.isatty():
        Console(highlight=False).print(picture)
        return
    console = Console(highlight=False, width=_PIPE_COLUMNS)
    with console.capture() as lines:
        console.print(picture)
    for line in lines.get().splitlines():
        click.echo(line.rstrip())


def _screen(view: View, output: str, *, watch: bool) -> Screen:
    """Changes go to stdout if they were asked for, else, on the way to an end, to stderr."""
    if output == "json":
        return JsonLines(sys.stdout) if watch else Silent()
    console = Console(highlight=False)
    if watch and console.is_terminal:
        return Picture(console, view.focus)
    return Lines(sys.stdout if watch else sys.stderr)


def _left(deadline: float | None, every_s: float | None) -> float | None:
    left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
    return min((one for one in (left, every_s) if one is not None), default=None)
