"""A rollout drawn for a terminal, or as plain text where there is none: sentence, versions, conditions of one."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from penstock_cli.rollout.story import Story
from penstock_cli.rollout.words import age, condition_said, headline, hints, plan_of, why
from penstock_operator.model_version import ModelVersion

_COLOURS = {
    "Live": "green", "Failed": "red", "RolledBack": "red", "Paused": "yellow", "Retired": "dim",
    "Shadow": "cyan", "Canary": "cyan", "Promoting": "cyan",
}  # fmt: skip
_MARKS = {"True": ("yes", "green"), "False": ("no", "yellow"), "Unknown": ("-", "dim")}
_BAR = 12
RETIRED_SHOWN = 5
"""Versions that have ended, at most; the newest of them."""


def drawn(stories: Sequence[Story], now: float, *, focus: str | None = None, live: bool = False) -> RenderableType:
    """All stories; `focus` is the version whose conditions are told, `live` for a terminal that is drawn anew."""
    if not stories:
        return Text("No ModelVersions here.")
    parts: list[RenderableType] = []
    for story in stories:
        parts += [*_story(story, now, focus, live), Text()]
    return Group(*parts[:-1])


def _story(story: Story, now: float, focus: str | None, live: bool) -> list[RenderableType]:
    title = Text.assemble((story.model, "bold"), f" in {story.namespace}")
    if story.revision is not None:
        title.append(f", route revision {story.revision}", "dim")
    matters = next((one for one in story.versions if one.name == focus), None) or story.candidate or story.live or story.newest
    parts: list[RenderableType] = [title, Text(headline(story)), Text(), _versions(story, now, live)]
    parts += [Text(), *_details(matters, now)]
    if told := hints(story):
        parts += [Text(), Text("Next:", "dim"), *(Text(f"  {one}", no_wrap=True, overflow="fold") for one in told)]
    return parts


def _versions(story: Story, now: float, live: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in ("version", "phase", "weight"):
        table.add_column(name, no_wrap=True)
    if live:
        table.add_column("", width=_BAR)
    table.add_column("since", no_wrap=True)
    table.add_column("why", overflow="fold")
    shown = [one for one in story.versions if not _is_over(one)]
    over = [one for one in story.versions if _is_over(one)]
    for one in sorted((*shown, *over[:RETIRED_SHOWN]), key=story.versions.index):
        bar = [ProgressBar(100, one.status.weight, width=_BAR)] if live else []
        phase = one.status.phase
        table.add_row(
            one.name,
            Text(phase, _COLOURS.get(phase, "")),
            f"{one.status.weight} %",
            *bar,
            age(one.status.stage_since or one.created, now),
            why(one, now),
        )
    if story.own_weight is not None:
        bar = [ProgressBar(100, story.own_weight, width=_BAR)] if live else []
        table.add_row("(its own bundle)", "", f"{story.own_weight:g} %", *bar, "", "of the InferenceService")
    if len(over) > RETIRED_SHOWN:
        table.add_row(Text(f"and {len(over) - RETIRED_SHOWN} more that have ended", "dim"))
    return table


def _is_over(version: ModelVersion) -> bool:
    return version.status.stage in ("Retired", "Failed", "RolledBack")


def _details(version: ModelVersion, now: float) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text.assemble((version.name, "bold"), f"  {plan_of(version)}"),
        Text(f"  {version.spec.bundle.uri}  {version.spec.bundle.digest[:19]}", "dim", overflow="fold"),
    ]
    if not version.status.conditions:
        return lines
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, show_edge=False)
    for one in version.status.conditions:
        mark, colour = _MARKS[one.status]
        table.add_row(
            one.type, Text(mark, colour), age(one.last_transition_time, now), Text(condition_said(one), overflow="fold")
        )
    return [*lines, Padding(table, (0, 0, 0, 2))]


def lines_of(stories: Sequence[Story]) -> dict[tuple[str, str], str]:
    """A line for each version, by namespace and name: what a log shows when it changes."""
    return {
        (story.namespace, one.name): f"{one.name}  {one.status.phase or 'Pending'}  {one.status.weight} %  {why(one)}".rstrip()
        for story in stories
        for one in reversed(story.versions)
    }
