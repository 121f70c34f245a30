"""What a simulation found, for people: a column for each set of rules."""

import math
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock_cli.rollout.simulate.summary import Share, Spread, Summary
from penstock_cli.rollout.simulate.trace import Scenario
from penstock_cli.rollout.simulate.traffic import Sticky

_ROWS: dict[str, Callable[[Summary], str]] = {
    "rolled back": lambda one: share_said(one.rolled_back),
    "of these by its shadow": lambda one: share_said(one.in_shadow),
    "live": lambda one: share_said(one.live),
    "still waiting": lambda one: share_said(one.waiting),
    "time until rolled back": lambda one: spread_said(one.seconds_back),
    "since its first answer": lambda one: spread_said(one.real_s),
    "time until live": lambda one: spread_said(one.seconds_live),
    "requests it failed": lambda one: f"{one.hurt.median:,.0f}, {one.hurt.p95:,.0f}",
    "rolled back by": lambda one: ", ".join(f"{metric} {n}" for metric, n in one.metrics.items()) or "-",
}


def drawn(title: str, found: dict[str, Summary], example: str) -> RenderableType:
    """Scenario, one column a set of rules, and the words with which one of the rollouts ended."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in ("", *found):
        table.add_column(name, overflow="fold")
    for name, said in _ROWS.items():
        table.add_row(name, *(said(summary) for summary in found.values()))
    note = "Shares with their 95 % intervals (Clopper-Pearson); times and requests: median, 95th percentile."
    parts: list[RenderableType] = [Text(title), Text(), table, Text()]
    if example:
        parts += [Text(f"For example: {example}"), Text()]
    return Group(*parts, Text(note, "dim"))


def scenario_said(scenario: Scenario) -> str:
    """One line of what comes and what is wrong."""
    traffic, service = scenario.traffic, scenario.service
    kind = "your own rates" if traffic.minutes else traffic.kind
    parts = [f"{traffic.rate:.4g} requests/s, {kind}", f"{100 * service.errors:g} % errors, {1000 * service.median_s:g} ms"]
    if service.deadline_s < math.inf:
        parts.append(f"{1000 * service.deadline_s:g} ms at most")
    if service.utilisation:
        parts.append(f"pods {100 * service.utilisation:g} % busy")
    if traffic.sticky.share:
        parts.append(_callers_said(traffic.sticky))
    if traffic.outages.an_hour:
        parts.append(f"{traffic.outages.an_hour:g} shared outages an hour")
    fault = str(scenario.fault)
    return "; ".join(parts) + ("; the new version is as good" if fault == "none" else f"; the new version has {fault}")


def _callers_said(sticky: Sticky) -> str:
    said = f"{100 * sticky.share:g} % of them by {sticky.callers} sticky caller{'s' if sticky.callers > 1 else ''}"
    if sticky.slower != 1:
        said += f", {sticky.slower:g} times as slow"
    if sticky.spread:
        said += f", each with a speed of its own (e^{sticky.spread:g} apart)"
    if sticky.own:
        said += f", {100 * sticky.own:g} % of whose answers are their own"
    if sticky.broken:
        said += f", {100 * sticky.broken:g} % of whom always fail"
    return said


def share_said(share: Share) -> str:
    """`0.543 % (0.0659-1.95)`: per cent, with the interval; `- % (0-100)` of no runs."""
    low, high = share.bounds
    return f"{_percent(share.value)} % ({_percent(low)}-{_percent(high)})"


def spread_said(spread: Spread) -> str:
    """`45 s, 3 min 20 s`: median and 95th percentile; `-` of nothing."""
    return "-" if math.isnan(spread.median) else f"{seconds_said(spread.median)}, {seconds_said(spread.p95)}"


def seconds_said(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 0 min`."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 100:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def document_of(scenario: Scenario, found: dict[str, Summary], runs: int, seed: int) -> dict[str, object]:
    """The same for programs."""
    return {
        "scenario": scenario_said(scenario),
        "runs": runs,
        "seed": seed,
        "rules": {name: _summary(summary) for name, summary in found.items()},
    }


def _summary(summary: Summary) -> dict[str, object]:
    return {
        "rolledBack": _share(summary.rolled_back),
        "rolledBackInShadow": _share(summary.in_shadow),
        "live": _share(summary.live),
        "waiting": _share(summary.waiting),
        "wentOn": _share(summary.went_on),
        "secondsToRollBack": _spread(summary.seconds_back),
        "secondsAfterFirstAnswer": _spread(summary.real_s),
        "secondsToLive": _spread(summary.seconds_live),
        "failedRequests": _spread(summary.hurt),
        "rolledBackBy": summary.metrics,
    }


def _share(share: Share) -> dict[str, object]:
    return {"events": share.events, "trials": share.trials, "interval95": list(share.bounds)}


def _spread(spread: Spread) -> dict[str, float] | None:
    return None if math.isnan(spread.median) else {"median": spread.median, "p95": spread.p95}


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.3g}"


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
