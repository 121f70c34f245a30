"""What the operator takes while evidence decides on a hundred rollouts at once, against a real API server.

    python bench/operator_rollouts.py [--models 100] [--rounds 3] [--seconds 4] [--json]

As bench/operator_figures.py: API server, etcd and operator are real, KServe and the transformers' admin ports are played in
another process. Every model has a live version and one on trial at its first step; its two transformer pods tell evidence of
200 requests/s that never is enough to decide. Measured is the processor's time that the kernel counts for the operator: asking
the pods, adding up what they tell, the tests, and what is written into the status; and of that what the judgements take, from
adding up to what the next status remembers, and in them the tests alone.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from command_line import command_line, parsed, show
from measured_operator import MeasuredOperator, measured_operator
from operator_surroundings import model_version
from operator_traffic import RATE, Traffic
from rig import cpu_s, most_resident_mib

from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.servers import ServerMissing
from penstock_operator.judgement import LOOK_S

LIMIT_PERCENT = 5.0


def main() -> None:
    parser = command_line(__doc__, rounds_help="windows", seconds_help="a tenth of a window")
    parser.add_argument("--models", type=int, default=100)
    given = parsed(parser)
    try:
        result = measure(given.models, rounds=given.rounds, seconds=given.seconds)
    except ServerMissing as missing:
        sys.exit(str(missing))
    show(given, result, table)


def measure(models: int, *, rounds: int = 3, seconds: float = 4.0) -> dict[str, Any]:
    """CPU in per cent of a core in each window. Raises ServerMissing."""
    with tempfile.TemporaryDirectory() as folder, KubernetesServer() as server:
        row = asyncio.run(_row(server, Path(folder), models, rounds, 10 * seconds))
    return {"bench": "operator_rollouts", "rows": [row], "ratios": {}}


async def _row(server: KubernetesServer, folder: Path, models: int, rounds: int, window_s: float) -> dict[str, Any]:
    names = [f"m{number:03}" for number in range(models)]
    async with measured_operator(server, folder, Traffic(), timed=True) as operator:
        for number, strategy, phase in ((1, "immediate", "Live"), (2, "evidence", "Canary")):
            await operator.add([model_version(name, number, strategy=strategy) for name in names], phase)
        # The first looks write more than the later ones.
        await asyncio.sleep(window_s / 2)
        windows = [await _window(operator, models, window_s) for _ in range(rounds)]
        # Their evidence was looked at and was not enough, as it has to be to the end.
        undecided = sum((one.get("status") or {}).get("reason") == "Undecided" for one in await operator.versions())
        return {
            "rollouts": models,
            "undecided": undecided,
            "memory_mib": round(most_resident_mib(operator.pid)),
            "requests_per_s": 2 * RATE,
            "window_s": window_s,
            "windows": windows,
            **{name: round(statistics.median(one[name] for one in windows), 2) for name in windows[0]},
        }


async def _window(operator: MeasuredOperator, models: int, window_s: float) -> dict[str, float]:
    asked, used, before, began = operator.surroundings.asked, cpu_s(operator.pid), operator.spent(), time.monotonic()
    await asyncio.sleep(window_s)
    took, cpu, spent = time.monotonic() - began, cpu_s(operator.pid) - used, operator.spent()
    looks = (operator.surroundings.asked - asked) / 2
    judging_s, testing_s = (spent[name].cpu_s - before[name].cpu_s for name in ("judge", "analyse"))
    judged = spent["judge"].calls - before["judge"].calls
    print(
        f"{100 * cpu / took:.2f} % of a core, {100 * judging_s / took:.2f} % judging, {looks / took:.1f} looks/s", file=sys.stderr
    )
    return {
        "cpu_percent": round(100 * cpu / took, 2),
        "ms_a_look": round(1e3 * cpu / max(looks, 1), 2),
        "judging_percent": round(100 * judging_s / took, 2),
        "judging_ms": round(1e3 * judging_s / max(judged, 1), 2),
        "tests_percent": round(100 * testing_s / took, 2),
        "tests_ms": round(1e3 * testing_s / max(judged, 1), 2),
        "look_every_s": round(models * took / max(looks, 1), 2),
    }


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield (
        "| rollouts on trial | each looked at every, s | % of a core | most of a window | ms a look"
        " | of it judging, % of a core | ms | of that the tests, % of a core | ms | MiB, most |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in result["rows"]:
        most = max(one["cpu_percent"] for one in row["windows"])
        yield (
            f"| {row['rollouts']} | {row['look_every_s']} | {row['cpu_percent']} | {most} | {row['ms_a_look']} |"
            f" {row['judging_percent']} | {row['judging_ms']} | {row['tests_percent']} | {row['tests_ms']} |"
            f" {row['memory_mib']} |"
        )
    yield ""
    row = result["rows"][0]
    yield f"Limit: {LIMIT_PERCENT:g} % of a core for the analysis, which is judging; the whole operator is told beside it."
    yield f"Windows of {row['window_s']:g} s. Looks are due every {LOOK_S:g} s in a"
    yield "stage's first two minutes, then whenever it is a twentieth older, at the latest after 30 s. Each asks"
    yield f"two pods of {row['requests_per_s']:g} requests/s together for their route and evidence, adds it up, and tests error"
    yield "rate, latency and outputs; every half minute its words are written. Judging is adding up, the tests, and what the next"
    yield "look is told, without the questions to pods and API server. At the end"
    yield f"{row['undecided']} of {row['rollouts']} trials were undecided, as they have to be."


if __name__ == "__main__":
    main()
