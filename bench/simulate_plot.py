"""The plots of bench/simulate.py: power by size of the fault, and how long each set of rules takes."""

from pathlib import Path
from typing import Any

COLOURS = {
    "evidence": "#c8553d",
    "evidence, with a shadow": "#e0a458",
    "threshold, tuned": "#4878a8",
    "threshold, Argo's example": "#7fb2d9",
    "Mann-Whitney, Kayenta's": "#419d78",
}
_PANELS = {
    "errors": (0.005, 100, "% more requests that fail"),
    "latency": (1.25, 1, "times as slow, every request"),
    "scores": (0.15, 100, "% of answers that differ in distribution"),
    "labels": (0.05, 100, "% of requests that get another label"),
}
"""A fault's margin, by what its sizes are multiplied to be shown, and what they are."""


def plot_power(found: dict[str, Any], path: Path) -> None:
    """Share of rollouts rolled back by size of the fault, with 95 % intervals, the margin as a line."""
    figure, panels, pyplot = _figure(2, 2, 11.0, 8.0)
    for axes, (kind, (margin, scale, label)) in zip(panels, _PANELS.items(), strict=True):
        points = found[kind]
        for name in points[0]["rules"]:
            shares = [point["rules"][name]["rolled_back"] for point in points]
            sizes = [point["size"] * scale for point in points]
            values = [100 * share["events"] / share["trials"] for share in shares]
            axes.plot(sizes, values, marker="o", markersize=4, color=COLOURS[name], label=name)
            low, high = ([100 * share["bounds"][at] for share in shares] for at in (0, 1))
            axes.fill_between(sizes, low, high, color=COLOURS[name], alpha=0.12, linewidth=0)
        axes.axvline(margin * scale, color="#555555", linewidth=0.9, linestyle=":")
        axes.set_xlabel(label)
        axes.set_ylim(-3, 103)
    for axes in panels[::2]:
        axes.set_ylabel("rolled back, % of rollouts")
    for axes in panels[1:]:
        axes.legend(frameon=False, fontsize=8, loc="center right")
    figure.suptitle("What is rolled back, by size of the fault; dotted: the margin", x=0.01, ha="left", fontsize=12)
    figure.savefig(path)
    pyplot.close(figure)


def plot_delays(found: dict[str, Any], path: Path) -> None:
    """Median and 95th percentile of the time until a fault is rolled back, logarithmic; a cross: fewer than half are."""
    figure, panels, pyplot = _figure(1, 1, 11.0, 5.6)
    axes, table = panels[0], found["table"]
    names = list(next(iter(table.values())))
    for place, each in enumerate(table.values()):
        for number, name in enumerate(names):
            one, height = each[name], place + (number - (len(names) - 1) / 2) * 0.16
            median, p95 = one["seconds_back"]["median"], one["seconds_back"]["p95"]
            share = one["rolled_back"]["events"] / one["rolled_back"]["trials"]
            if share < 0.5:
                axes.plot([7300], [height], marker="x", color=COLOURS[name], markersize=5)
                continue
            axes.plot([median, p95], [height, height], color=COLOURS[name], linewidth=2.5, solid_capstyle="butt")
            axes.plot([median], [height], marker="o", color=COLOURS[name], markersize=5)
    for name in names:
        axes.plot([], [], color=COLOURS[name], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_xticks(
        [5, 10, 30, 60, 180, 600, 1800, 3600, 7300], ["5 s", "10 s", "30 s", "1 min", "3", "10", "30", "60", "not half"]
    )
    axes.minorticks_off()
    axes.set_yticks(range(len(table)), list(table))
    axes.invert_yaxis()
    axes.set_xlabel("from the rollout's beginning until it is rolled back: median (dot) to 95th percentile")
    axes.legend(frameon=False, fontsize=8, loc="lower center", ncols=len(names), bbox_to_anchor=(0.45, 1.0))
    figure.savefig(path)
    pyplot.close(figure)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any, Any]:
    """With its panels row by row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(rows, columns, figsize=(width, height), dpi=130, layout="constrained", squeeze=False)
    for axes in panels.flat:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, panels.flatten(), pyplot
