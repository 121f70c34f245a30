"""The plot of bench/streaming_trade.py: how batches, transactions and latency hang together, a panel a course."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

LATENCY, COST, SIZE = "#c8553d", "#4878a8", "#419d78"


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw `measure`'s result to a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (load, interval, most) = pyplot.subplots(1, 3, figsize=(15, 4.8), dpi=130, layout="constrained")
    # Between two panels stand the labels of both.
    figure.get_layout_engine().set(wspace=0.06)
    rows = result["load"]
    rates = [row["rate"] for row in rows]
    _latency(load, rates, rows)
    load.set(xscale="log", xlabel="records/s that come", ylabel="ms from due to seen", ylim=(0, None))
    load.set_title("The load makes the batches", loc="left", fontsize=11)
    _right(load, rates, [row["a_transaction"] for row in rows], "records a transaction", SIZE, log=True)

    rows = result["interval"]
    intervals = [row["interval_ms"] for row in rows]
    _latency(interval, intervals, rows)
    interval.set(xlabel="--transaction_interval_ms", ylabel="ms from due to seen", ylim=(0, None))
    interval.set_title(f"Longer transactions, at {result['rate']:,.0f} records/s", loc="left", fontsize=11)
    _right(interval, intervals, [row["cpu_us"] for row in rows], "CPU us a record (worker)", COST)

    rows = result["most"]
    sizes = [row["most"] for row in rows]
    most.plot(sizes, [row["commit_ms"] for row in rows], color=LATENCY, marker="o", markersize=3, label="ms of a transaction")
    most.set(xscale="log", xlabel="--transaction_records", ylabel="ms of a transaction", ylim=(0, None))
    most.set_title("Larger transactions, records waiting", loc="left", fontsize=11)
    _right(most, sizes, [row["per_core"] for row in rows], "records/s per core of worker CPU", COST)
    for axes in (load, interval, most):
        axes.grid(True, which="major", color="#eeeeee")
        axes.spines["top"].set_visible(False)
        axes.yaxis.label.set_color(LATENCY)
    figure.savefig(path)
    pyplot.close(figure)


def _latency(axes: Any, places: Sequence[float], rows: Sequence[dict[str, float]]) -> None:
    axes.plot(places, [row["p99_ms"] for row in rows], color=LATENCY, marker="o", markersize=3, label="p99")
    axes.plot(places, [row["p50_ms"] for row in rows], ":", color=LATENCY, marker="o", markersize=3, label="p50")
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def _right(axes: Any, places: Sequence[float], values: Sequence[float], label: str, colour: str, *, log: bool = False) -> None:
    other = axes.twinx()
    other.plot(places, values, "--", color=colour, marker="s", markersize=3, linewidth=1.2)
    other.set_ylabel(label, color=colour)
    other.tick_params(axis="y", colors=colour)
    other.spines["top"].set_visible(False)
    if log:
        other.set_yscale("log")
    else:
        other.set_ylim(0, None)
