"""docs/rollouts-simulated.md, written from what bench/simulate.py found."""

import math
from collections.abc import Iterator
from typing import Any

from penstock_cli.rollout.simulate.drawing import seconds_said, table_lines

_INTRODUCTION = """# Rollouts, simulated

Written by `make simulate`. [Rollouts](rollouts.md) says what the rules are and what they promise; here is what they did on made
traffic: 200 requests/s unless another number is given, 0.1 % of requests fail, latencies are log-normal (median 20 ms, p99 64 ms)
and breathe by a tenth, an honest new version moves its outputs by 0.02 and gives 1 % of requests another label. Looks are every
5 s (every minute at 1 request/s), margins and alpha the defaults (errors 0.5 points, p99 times 1.25, outputs 0.15, labels 5 %;
alpha 1 %), steps 5, 25, 50, 100.

The rivals have the same requests:

- *threshold, tuned*: error rate and p99 of the new version against fixed bounds, every minute, `failureLimit` 0, two minutes a
  step. The bounds are those at which 1 % of good rollouts **of that very traffic** are rolled back, found by simulating it
  beforehand. That is more than anybody knows who sets a bound by hand, and it holds for that traffic alone.
- *threshold, Argo's example*: as the documentation of Argo Rollouts has it: success rate at least 95 %, every 5 minutes,
  `failureLimit` 3, steps of 10 minutes ([analysis](https://argo-rollouts.readthedocs.io/en/stable/features/analysis/)).
- *Mann-Whitney, Kayenta's*: error rate and p99 a minute of equal halves of the traffic, judged after each of 3 hours at 98 %
  confidence with a tolerance of a quarter of the estimated shift
  ([best practices](https://spinnaker.io/docs/guides/user/canary/best-practices/), NetflixACAJudge.scala and
  MannWhitneyClassifier.scala of [Kayenta](https://github.com/spinnaker/kayenta/tree/master/kayenta-judge)).

Neither rival looks at outputs or labels. Shares have their 95 % intervals (Clopper-Pearson, two-sided); times are median and 95th
percentile.
"""


def page(found: dict[str, Any]) -> Iterator[str]:
    """The lines of the page, of the parts that there are."""
    yield _INTRODUCTION
    if "good" in found:
        yield from _good(found["good"])
    if "bad" in found:
        yield from _bad(found["bad"])
    if "power" in found:
        yield from _power(found["power"])
    if "edge" in found:
        yield from _edge(found["edge"])


def _good(part: dict[str, Any]) -> Iterator[str]:
    said = f"{part['runs']} rollouts of each kind of traffic (a quarter of that for the rank test), {part['date']}."
    yield f"## A good version\n\n{said} The threshold was tuned on other rollouts than these.\n"
    rows = [
        [traffic, rules, _share(one["rolled_back"]), _share(one["waiting"]), _times(one["seconds_live"])]
        for traffic, table in part["table"].items()
        for rules, one in table.items()
    ]
    yield from table_lines(["traffic", "rules", "rolled back, falsely", "still waiting at the end", "until live"], rows)
    yield ""


def _bad(part: dict[str, Any]) -> Iterator[str]:
    yield f"## A faulty version\n\n{part['runs']} rollouts of each fault, {part['date']}. Requests: those that it failed.\n"
    rows = [
        [
            fault,
            rules,
            _share(one["rolled_back"]),
            _times(one["seconds_back"]),
            _times(one["real_s"]),
            f"{one['hurt']['median']:,.0f}",
        ]
        for fault, table in part["table"].items()
        for rules, one in table.items()
    ]
    yield from table_lines(
        ["fault", "rules", "rolled back", "until rolled back", "since its first answer", "failed requests, median"], rows
    )
    yield "\n![How long each set of rules takes](rollouts-delays.png)\n"


def _power(part: dict[str, Any]) -> Iterator[str]:
    said = "ours without a shadow, given half an hour"
    yield f"## By size of the fault\n\n{part['runs']} rollouts of each size, {part['date']}; {said}.\n"
    yield "![What is rolled back, by size of the fault](rollouts-power.png)\n"
    yield (
        "What is within its margin ours lets on, as it was asked to; a rule without margins takes back what is a little worse,\n"
        "or nothing before it is much worse, as its bound lies.\n"
    )


def _edge(part: dict[str, Any]) -> Iterator[str]:
    said = "On a margin a version may be rolled back with a chance of alpha (1 %), beyond it go live with that."
    yield f"## On the edge\n\n{part['runs']} rollouts of each, {part['date']}, two hours at most, without a shadow. {said}\n"
    rows = [
        [name, _share(one["rolled_back"]), _share(one["live"]), _share(one["waiting"])]
        for name, table in part["table"].items()
        for one in table.values()
    ]
    yield from table_lines(["version", "rolled back", "live", "still waiting after 2 h"], rows)
    yield ""


def _share(one: dict[str, Any]) -> str:
    low, high = one["bounds"]
    return f"{_percent(one['events'] / one['trials'])} % ({_percent(low)}-{_percent(high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")


def _times(one: dict[str, float]) -> str:
    return "-" if math.isnan(one["median"]) else f"{seconds_said(one['median'])}, {seconds_said(one['p95'])}"
