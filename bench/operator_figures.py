"""What the operator takes while nothing happens, and how soon it acts, against a real API server.

    python bench/operator_figures.py [--models 100] [--versions 1000] [--seconds 4] [--rounds 3] [--json]

The API server and etcd are real (`make cluster-up` builds them), the operator is its program. KServe, the job controller and the
transformers' admin ports are played here, in another process than the operator's. First every model has one live version and two
transformer pods; then versions are added, paused, until there are `--versions`. Each time: memory, the processor's time over
ten times `--seconds`, and the time from a new ModelVersion to the operator's first call (its finalizer) and to the Job that
verifies it.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from operator_surroundings import NAMESPACE, Surroundings, cluster_of, model_version

from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.servers import ServerMissing, free_port
from penstock_operator.cluster import JOBS, MODEL_VERSIONS, ClusterError, Missing, Object
from penstock_operator.kube_cluster import KubeCluster

LIMITS = "Limits: 120 MiB, 1 % of a core with 100 idle ModelVersions, a change acted on within 1 s."
# The first of an operator's life: it has to read everything, and the caches of the API server are cold.
LIMIT_S = 600.0
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--versions", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="ten changes each")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    try:
        result = measure(given.models, given.versions, rounds=given.rounds, seconds=given.seconds)
    except ServerMissing as missing:
        sys.exit(str(missing))
    print(json.dumps(result, indent=1) if given.json else "\n".join(table(result)))


def measure(models: int, versions: int, *, rounds: int = 3, seconds: float = 4.0) -> dict[str, Any]:
    """One row for the models' first versions, one for all. Raises ServerMissing."""
    with tempfile.TemporaryDirectory() as folder, KubernetesServer(["--watch-cache=true"]) as server:
        rows = asyncio.run(Measurement(server, Path(folder), models, rounds, 10 * seconds).run(versions))
    return {"bench": "operator_figures", "rows": rows, "ratios": {}}


class Measurement:
    """One operator and what is around it."""

    def __init__(self, server: KubernetesServer, folder: Path, models: int, rounds: int, window_s: float) -> None:
        self._server = server
        self._folder = folder
        self._models = models
        self._rounds = rounds
        self._window_s = window_s
        self._changes = 0

    async def run(self, versions: int) -> list[dict[str, Any]]:
        """The rows."""
        port = free_port()
        cluster = await cluster_of(self._server, self._folder)
        surroundings = Surroundings(cluster, port)
        await surroundings.start()
        operator = self._operator(port)
        try:
            first = [model_version(f"m{number:03}", 1) for number in range(self._models)]
            rows = [await self._row(cluster, operator, first, "Live")]
            each = range(2, 2 + max(0, versions - self._models) // self._models)
            more = [model_version(f"m{model:03}", number, paused=True) for number in each for model in range(self._models)]
            if more:
                rows.append(await self._row(cluster, operator, more, "Paused"))
            return rows
        finally:
            operator.kill()
            operator.wait()
            await surroundings.close()
            await cluster.close()

    def _operator(self, port: int) -> subprocess.Popen[bytes]:
        options = [f"--kubeconfig={self._folder / 'kubeconfig'}", "--lease_namespace=default", f"--transformer_admin_port={port}"]
        command = [sys.executable, "-m", "penstock_operator", *options, f"--http_port={free_port()}", "--admin_port=0"]
        with (self._folder / "operator.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    async def _row(self, cluster: KubeCluster, operator: Any, added: list[Object], phase: str) -> dict[str, Any]:
        began = time.monotonic()
        for at in range(0, len(added), 20):
            await asyncio.gather(*(cluster.create(MODEL_VERSIONS, one) for one in added[at : at + 20]))

        async def settled() -> bool:
            found, _ = await cluster.list(MODEL_VERSIONS, NAMESPACE)
            there = {one["metadata"]["name"]: (one.get("status") or {}).get("phase") for one in found}
            return all(there.get(one["metadata"]["name"]) == phase for one in added)

        await self._until(settled, operator, f"all are {phase}")
        settled_s = time.monotonic() - began
        await asyncio.sleep(self._window_s / 4)
        used = cpu_s(operator.pid)
        await asyncio.sleep(self._window_s)
        cpu = (cpu_s(operator.pid) - used) / self._window_s
        changes = [await self._change(cluster, operator) for _ in range(10 * self._rounds)]
        held, _ = await cluster.list(MODEL_VERSIONS, NAMESPACE)
        print(f"measured with {len(held)} versions: {memory_mib(operator.pid):.0f} MiB, {100 * cpu:.2f} %", file=sys.stderr)
        firsts, jobs = ([1e3 * one[at] for one in changes] for at in (0, 1))
        return {
            "versions": len(held),
            "models": self._models,
            "settled_s": round(settled_s, 1),
            "memory_mib": round(memory_mib(operator.pid)),
            "cpu_percent": round(100 * cpu, 2),
            "first_call_ms": round(statistics.median(firsts)),
            "first_call_most_ms": round(max(firsts)),
            "job_ms": round(statistics.median(jobs)),
            "job_most_ms": round(max(jobs)),
        }

    async def _change(self, cluster: KubeCluster, operator: Any) -> tuple[float, float]:
        """Seconds from a new version of a model of its own to its finalizer, and to its Job; then it goes."""
        self._changes += 1
        document = model_version(f"c{self._changes:03}", 1)
        name = document["metadata"]["name"]

        async def taken() -> bool:
            return bool((await cluster.get(MODEL_VERSIONS, NAMESPACE, name))["metadata"].get("finalizers"))

        async def verified() -> bool:
            return await there(cluster.get(JOBS, NAMESPACE, f"{name}-verify"))

        async def gone() -> bool:
            return not await there(cluster.get(MODEL_VERSIONS, NAMESPACE, name))

        began = time.monotonic()
        await cluster.create(MODEL_VERSIONS, document)
        await self._until(taken, operator, f"{name} is taken", pause_s=0.005)
        first = time.monotonic() - began
        await self._until(verified, operator, f"{name} is verified", pause_s=0.005)
        second = time.monotonic() - began
        await cluster.delete(MODEL_VERSIONS, NAMESPACE, name)
        await self._until(gone, operator, f"{name} is gone")
        return first, second

    async def _until(self, condition: Callable[[], Awaitable[bool]], operator: Any, what: str, *, pause_s: float = 0.2) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not await holds(condition):
            if operator.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "operator.log").read_text()[-4000:]
                sys.exit(f"not within {LIMIT_S:g} s: {what}\n{log}")
            await asyncio.sleep(pause_s)


async def holds(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it does; an API server that gives no answer in time is asked again."""
    try:
        return await condition()
    except ClusterError:
        return False


async def there(call: Awaitable[Object]) -> bool:
    try:
        await call
    except Missing:
        return False
    return True


def cpu_s(pid: int) -> float:
    """Processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid: int) -> float:
    """The most that it has had resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


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
