"""The plot of bench/latency.py: median and p99 of each server as the rate of requests grows."""

from pathlib import Path
from typing import Any

OURS = "#c8553d"
OTHERS = ("#4878a8", "#7fb2d9", "#e0a458", "#8c6bb1", "#419d78", "#9a8f5c", "#5e6b8c", "#d98ba6")


def plot(result: dict[str, Any], path: Path, limit_ms: float) -> None:
    """Draw `measure`'s result to a PNG: p99 as a line, its median dotted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 5.6), dpi=130, layout="constrained")
    others = iter(OTHERS * 2)
    for name, curve in result["curves"].items():
        colour = OURS if name == "penstock" else next(others)
        rates = [rate for rate, _, _ in curve]
        style = "--" if name.endswith("batching") else "-"
        axes.plot(rates, [p99 for _, _, p99 in curve], style, color=colour, marker="o", markersize=3, label=name, linewidth=1.4)
        axes.plot(rates, [p50 for _, p50, _ in curve], ":", color=colour, linewidth=0.9)
    axes.axhline(limit_ms, color="#888888", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="requests a second, open loop", ylabel="ms; p99 (line), median (dotted)")
    axes.grid(True, which="both", color="#eeeeee")
    axes.legend(fontsize=8, frameon=False, ncols=2)
    figure.savefig(path)
    pyplot.close(figure)
