"""docs/rollouts-simulated.md, written from what bench/simulate.py found."""

import math
from collections.abc import Iterator
from typing import Any

from sections import sections_of

from penstock_cli.rollout.simulate.drawing import seconds_said, table_lines

_ALPHA = 0.01
_TUNED = "threshold, tuned"
_INTRODUCTION = """# Rollouts, simulated

Written by `make simulate`. [Rollouts](rollouts.md) says what the rules are and what they promise; here is what they did on made
traffic: 200 requests/s unless another number is given, 0.1 % of requests fail, latencies are log-normal (median 20 ms, p99 64 ms)
and breathe by a tenth, an honest new version moves its outputs by 0.02 and gives 1 % of requests another label. Looks come as the
operator's do (every 6 s at first, every half a minute in an old step), margins and alpha are the defaults (errors 0.5 points,
p99 times 1.25, outputs 0.15, labels 5 %; alpha 1 %), steps 10, 50, 100 unless others are given. Counts are judged by the
operator's own code. Times are of the rules alone: until pods have started and routes are applied comes on top.

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

Some of the traffic is unkind. *Callers* with a route key, or a record id, come again and again, and stay with one version; they
may be loud, have speeds of their own (a spread of e^0.5) and answers (four fifths of a caller's are one score and one label),
and some may fail always. With *deadlines* (60 ms) both versions, and copies, answer some requests too late. *Pods* that are 60 %
busy with all requests take their time as an M/M/1 queue does: 2.2 times as long as with a fifth of them. *Fresh pods* are slow at
first.

Neither rival looks at outputs or labels. Shares have their 95 % intervals (Clopper-Pearson, two-sided); times are median and 95th
percentile.
"""


def page(found: dict[str, Any], standing: str = "") -> Iterator[str]:
    """The lines of the page. A part that was not found keeps its section of the `standing` page, if it has one."""
    sections = sections_of(standing)
    yield _INTRODUCTION
    for name, (title, written) in _PARTS.items():
        if name in found:
            yield f"## {title}\n"
            yield from written(found)
        elif title in sections:
            yield f"## {title}"
            yield sections[title].rstrip("\n") + "\n"


def _good(found: dict[str, Any]) -> Iterator[str]:
    part = found["good"]
    yield (
        f"{part['runs']} rollouts of most kinds of traffic by evidence, half as many by thresholds, an"
        f" eighth by the rank test, {_made(part)}. The threshold was tuned on {part['tuning']} other rollouts than these.\n"
    )
    rows = [
        [traffic, rules, _runs(one), _share(one["rolled_back"]), _share(one["waiting"]), _times(one["seconds_live"])]
        for traffic, table in part["table"].items()
        for rules, one in table.items()
    ]
    yield from table_lines(["traffic", "rules", "runs", "rolled back, falsely", "still waiting at the end", "until live"], rows)
    yield ""
    yield _beyond(part["table"])
    yield from _too_few(part["table"])


def _beyond(table: dict[str, dict[str, Any]]) -> str:
    """Where ours takes back more good versions than it promises."""
    found = [
        f"{_share(one['rolled_back'])} on {_where(traffic, rules)}"
        for traffic, rules, one in _ours(table)
        if one["rolled_back"]["bounds"][0] > _ALPHA
    ]
    if not found:
        return "Nowhere are more good versions taken back by evidence than alpha allows.\n"
    return (
        f"**By evidence more good versions than alpha allows are taken back: {'; '.join(found)}.** A busy version that has all"
        " requests is compared with copies, whose pods have little to do, and with what was at another time, if anything was."
        " Pods that are cold for longer than half a minute still are when they are looked at."
        " [What it cannot see](rollouts.md#what-it-cannot-see) says what to do.\n"
    )


def _too_few(table: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Where ours may keep its promise, and it would take more runs to say so."""
    found = [
        f"{_share(back)} of {back['trials']:,} on {_where(traffic, rules)}"
        for traffic, rules, one in _ours(table)
        if (back := one["rolled_back"])["bounds"][0] <= _ALPHA < back["bounds"][1]
    ]
    if found:
        yield f"Too few runs to show that evidence takes back no more than alpha allows: {'; '.join(found)}.\n"


def _where(traffic: str, rules: str) -> str:
    return f'"{traffic}"{" with a shadow" if rules.endswith("shadow") else ""}'


def _ours(table: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, each in table.items():
        for rules, one in each.items():
            if rules.startswith("evidence"):
                yield name, rules, one


def _bad(found: dict[str, Any]) -> Iterator[str]:
    part = found["bad"]
    yield (
        f"Constant traffic; {part['runs']} rollouts of each fault by evidence, half as many by"
        f" thresholds, an eighth by the rank test, {_made(part)}. Requests: those that it failed.\n"
    )
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
    yield from _slower(part["table"], found.get("good", {}))


def _slower(table: dict[str, dict[str, Any]], good: dict[str, Any]) -> Iterator[str]:
    """Where the tuned threshold is quicker than ours, and what it costs."""
    found = []
    for fault, each in table.items():
        ours, theirs = each["evidence"], each[_TUNED]
        if min(_found(ours), _found(theirs)) < 0.5:
            continue
        slower = [
            f"{name} {seconds_said(ours['seconds_back'][at])} instead of {seconds_said(theirs['seconds_back'][at])}"
            for at, name in (("median", "median"), ("p95", "95th percentile"))
            if ours["seconds_back"][at] > theirs["seconds_back"][at]
        ]
        if slower:
            found.append(f"{fault} ({', '.join(slower)})")
    if not found:
        return
    yield f"**Ours is slower than the tuned threshold to find {'; '.join(found)}.**"
    if good:
        theirs = [(_found(one), traffic, one) for traffic, each in good["table"].items() if (one := each.get(_TUNED))]
        worst = max(theirs, key=lambda one: one[0])
        steady = [one for each in good["table"].values() if (one := each.get(f"{_TUNED} on constant traffic"))]
        everywhere = max(map(_found, steady), default=0.0)
        constant = good["table"]["constant"]
        yield (
            "Their false alarms are not equal: of good versions on the same traffic that threshold takes back"
            f" {_share(constant[_TUNED]['rolled_back'])}, ours {_share(constant['evidence']['rolled_back'])}; tuned for the"
            f' traffic at hand up to {_percent(worst[0])} % ("{worst[1]}"), not tuned for it up to {_percent(everywhere)} %. It'
            " has no margin either: it asks whether a minute is unlike good ones, ours whether harm over the margin is proven."
        )
    yield ""


def _found(one: dict[str, Any]) -> float:
    back = one["rolled_back"]
    return float(back["events"] / back["trials"])


def _power(found: dict[str, Any]) -> Iterator[str]:
    part = found["power"]
    said = (
        "ours given half an hour, without a shadow but for labels, which it needs; half as many by thresholds, an eighth by the"
        " rank test, and neither of these where they do not look, at answers"
    )
    yield f"{part['runs']} rollouts of each size by evidence, {_made(part)}; {said}.\n"
    yield "![What is rolled back, by size of the fault](rollouts-power.png)\n"
    yield (
        "What is within its margin ours lets on, as it was asked to; a rule without margins takes back what is a little worse,\n"
        "or nothing before it is much worse, as its bound lies. What answers and labels differ by comes on top of an honest\n"
        "version's 2 and 1 %.\n"
    )


def _edge(found: dict[str, Any]) -> Iterator[str]:
    part = found["edge"]
    yield (
        f"{part['runs']} rollouts of each, {_made(part)}, two hours at most, without a shadow but for labels,"
        " which need one. On a margin a version may be rolled back with a chance of alpha (1 %). One that is on a"
        " margin or beyond it may go on from its first step, or from its shadow, with that chance at most, whatever came of it"
        " then.\n"
    )
    rows = [
        [name, *(_share(one[what]) for what in ("rolled_back", "went_on", "live", "waiting"))]
        for name, table in part["table"].items()
        for one in table.values()
    ]
    header = ["version", "rolled back", "went on from its first step, or its shadow", "live", "still waiting after 2 h"]
    yield from table_lines(header, rows)
    yield ""


_PARTS = {
    "good": ("A good version", _good),
    "bad": ("A faulty version", _bad),
    "power": ("By size of the fault", _power),
    "edge": ("On the edge", _edge),
}


def _made(part: dict[str, Any]) -> str:
    """When, and what it took."""
    return f"{part['date']} (in {seconds_said(part['seconds'])}, {seconds_said(part['cpu_seconds'])} of CPU)"


def _runs(one: dict[str, Any]) -> str:
    return f"{one['rolled_back']['trials']:,}"


def _share(one: dict[str, Any]) -> str:
    low, high = one["bounds"]
    return f"{_percent(one['events'] / one['trials'])} % ({_percent(low)}-{_percent(high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")


def _times(one: dict[str, float]) -> str:
    return "-" if math.isnan(one["median"]) else f"{seconds_said(one['median'])}, {seconds_said(one['p95'])}"
