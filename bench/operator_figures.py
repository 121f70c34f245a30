"""What the operator takes while nothing happens, and how soon it acts, against a real API server.

    python bench/operator_figures.py [--models 100] [--versions 1000] [--seconds 4] [--rounds 3] [--json]

The API server and etcd are real (`make cluster-up` builds them), the operator is its program. KServe, the job controller and the
transformers' admin ports are played here, in another process than the operator's. First every model has one live version and two
transformer pods; then versions are added, paused, until there are `--versions`. Each time: memory, the processor's time over
ten times `--seconds`, and the time from a new ModelVersion to the operator's first call (its finalizer) and to the Job that
verifies it.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

from command_line import command_line, parsed, show
from measured_operator import MeasuredOperator, measured_operator
from operator_surroundings import NAMESPACE, model_version
from rig import cpu_s, most_resident_mib

from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.servers import ServerMissing
from penstock_operator.cluster import JOBS, MODEL_VERSIONS, Missing, Object

LIMITS = "Limits: 120 MiB, 1 % of a core with 100 idle ModelVersions, a change acted on within 1 s."


def main() -> None:
    parser = command_line(__doc__, rounds_help="ten changes each")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--versions", type=int, default=1000)
    given = parsed(parser)
    try:
        result = measure(given.models, given.versions, rounds=given.rounds, seconds=given.seconds)
    except ServerMissing as missing:
        sys.exit(str(missing))
    show(given, result, table)


def measure(models: int, versions: int, *, rounds: int = 3, seconds: float = 4.0) -> dict[str, Any]:
    """One row for the models' first versions, one for all. Raises ServerMissing."""
    with tempfile.TemporaryDirectory() as folder, KubernetesServer() as server:
        rows = asyncio.run(_rows(server, Path(folder), models, versions, rounds, 10 * seconds))
    return {"bench": "operator_figures", "rows": rows, "ratios": {}}


async def _rows(
    server: KubernetesServer, folder: Path, models: int, versions: int, rounds: int, window_s: float
) -> list[dict[str, Any]]:
    async with measured_operator(server, folder) as operator:
        measurement = Measurement(operator, models, rounds, window_s)
        rows = [await measurement.row([model_version(f"m{number:03}", 1) for number in range(models)], "Live")]
        each = range(2, 2 + max(0, versions - models) // models)
        more = [model_version(f"m{model:03}", number, paused=True) for number in each for model in range(models)]
        if more:
            rows.append(await measurement.row(more, "Paused"))
        return rows


class Measurement:
    """Of one operator, which gets more and more versions."""

    def __init__(self, operator: MeasuredOperator, models: int, rounds: int, window_s: float) -> None:
        self._operator = operator
        self._models = models
        self._rounds = rounds
        self._window_s = window_s
        self._changes = 0

    async def row(self, added: list[Object], phase: str) -> dict[str, Any]:
        """Figures with these versions added, once they are in the phase."""
        began, pid = time.monotonic(), self._operator.pid
        await self._operator.add(added, phase)
        settled_s = time.monotonic() - began
        await asyncio.sleep(self._window_s / 4)
        used = cpu_s(pid)
        await asyncio.sleep(self._window_s)
        cpu = (cpu_s(pid) - used) / self._window_s
        changes = [await self._change() for _ in range(10 * self._rounds)]
        held = len(await self._operator.versions())
        print(f"measured with {held} versions: {most_resident_mib(pid):.0f} MiB, {100 * cpu:.2f} %", file=sys.stderr)
        firsts, jobs = ([1e3 * one[at] for one in changes] for at in (0, 1))
        return {
            "versions": held,
            "models": self._models,
            "settled_s": round(settled_s, 1),
            "memory_mib": round(most_resident_mib(pid)),
            "cpu_percent": round(100 * cpu, 2),
            "first_call_ms": round(statistics.median(firsts)),
            "first_call_most_ms": round(max(firsts)),
            "job_ms": round(statistics.median(jobs)),
            "job_most_ms": round(max(jobs)),
        }

    async def _change(self) -> tuple[float, float]:
        """Seconds from a new version of a model of its own to its finalizer, and to its Job; then it goes."""
        self._changes += 1
        document = model_version(f"c{self._changes:03}", 1)
        name = document["metadata"]["name"]
        operator, cluster = self._operator, self._operator.cluster

        async def taken() -> bool:
            return bool((await cluster.get(MODEL_VERSIONS, NAMESPACE, name))["metadata"].get("finalizers"))

        async def verified() -> bool:
            return await there(cluster.get(JOBS, NAMESPACE, f"{name}-verify"))

        async def gone() -> bool:
            return not await there(cluster.get(MODEL_VERSIONS, NAMESPACE, name))

        began = time.monotonic()
        await cluster.create(MODEL_VERSIONS, document)
        await operator.until(taken, f"{name} is taken", pause_s=0.005)
        first = time.monotonic() - began
        await operator.until(verified, f"{name} is verified", pause_s=0.005)
        second = time.monotonic() - began
        await cluster.delete(MODEL_VERSIONS, NAMESPACE, name)
        await operator.until(gone, f"{name} is gone")
        return first, second


async def there(call: Awaitable[Object]) -> bool:
    """Whether what the call asks for exists."""
    try:
        await call
    except Missing:
        return False
    return True


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| ModelVersions | models | MiB, most | % of a core | change to first call, ms | to its Job, ms | all settled, s |"
    yield "|---|---|---|---|---|---|---|"
    for row in result["rows"]:
        first, job = (f"{row[f'{name}_ms']:,}, {row[f'{name}_most_ms']:,}" for name in ("first_call", "job"))
        yield (
            f"| {row['versions']:,} | {row['models']} | {row['memory_mib']} | {row['cpu_percent']} | {first} | {job} "
            f"| {row['settled_s']} |"
        )
    yield ""
    yield f"{LIMITS} Times are median and most. Operator, API server, etcd and"
    yield "what plays the rest share two cores, and other programs ran beside them: times are upper bounds. Every model has two"
    yield "transformer pods, which are asked for their route; versions after a model's first are paused."


if __name__ == "__main__":
    main()
