"""The plot of bench/stages.py: CPU of a request, a bar a process, a part a stage."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Stages that both programs have are the same colour in both; the last two are not Python's own work.
COLOURS = {
    "HTTP": "#4878a8",
    "JSON decode": "#7fb2d9",
    "decode": "#7fb2d9",
    "batching, routing": "#e0a458",
    "batching": "#e0a458",
    "columns": "#8c6bb1",
    "store read": "#419d78",
    "encoder": "#c8553d",
    "model run": "#c8553d",
    "predictor call": "#d98ba6",
    "post-processing": "#9a8f5c",
    "answer JSON": "#5e6b8c",
    "encode": "#5e6b8c",
    "socket writes": "#9e9e9e",
}
_OTHER = "#cfcfcf"
_BAR = 0.36
# A label above its part takes this much of the axis; narrower parts have theirs moved aside, with a line to the part.
_LABEL_SHARE = 0.031


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw `measure`'s result to a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = result["rows"]
    longest = max(sum(row["stages"].values()) for row in rows)
    figure, axes = pyplot.subplots(figsize=(11, 5.6), dpi=130, layout="constrained")
    # The first bar on top, each with room for its labels above it.
    for place, row in enumerate(reversed(rows)):
        parts = [(name, value) for name, value in row["stages"].items() if value > 0]
        edges = [sum(value for _, value in parts[:at]) for at in range(len(parts))]
        centres = [edge + value / 2 for edge, (_, value) in zip(edges, parts, strict=True)]
        labels = spread(centres, longest * _LABEL_SHARE)
        for (name, value), edge, centre, label in zip(parts, edges, centres, labels, strict=True):
            colour = COLOURS.get(name, _OTHER)
            axes.barh(place, value, _BAR, left=edge, color=colour, edgecolor="white", linewidth=0.8)
            top = place + _BAR / 2
            axes.plot([centre, label], [top, top + 0.07], color="#888888", linewidth=0.7, solid_capstyle="butt")
            text = f"{name}  {value:.1f}"
            axes.text(label, top + 0.08, text, rotation=33, rotation_mode="anchor", ha="left", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [f"{row['program']}\n{sum(row['stages'].values()):.1f} us" for row in reversed(rows)])
    axes.tick_params(axis="y", length=0, labelsize=11)
    axes.set_ylim(-0.35, len(rows) - 0.1)
    axes.set_xlim(0, longest * 1.12)
    axes.set_xlabel("CPU us a request")
    axes.set_title(f"One prediction with stored features, {result['connections']} connections", loc="left", fontsize=12)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.savefig(path)
    pyplot.close(figure)


def spread(centres: Sequence[float], gap: float) -> list[float]:
    """Places for labels, in order and at least `gap` apart: each run of crowded ones is centred on what it labels."""
    runs: list[list[float]] = []
    for centre in centres:
        runs.append([centre])
        while len(runs) > 1 and _start(runs[-1], gap) < _start(runs[-2], gap) + gap * len(runs[-2]):
            runs[-2:] = [runs[-2] + runs[-1]]
    return [_start(run, gap) + gap * at for run in runs for at in range(len(run))]


def _start(run: Sequence[float], gap: float) -> float:
    # Never left of the axis.
    return max(sum(run) / len(run) - gap * (len(run) - 1) / 2, gap / 2)
