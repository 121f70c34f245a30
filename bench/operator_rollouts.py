"""What the operator takes while evidence decides on a hundred rollouts at once, against a real API server.

    python bench/operator_rollouts.py [--models 100] [--rounds 3] [--seconds 4] [--json]

As bench/operator_figures.py: API server, etcd and operator are real, KServe and the transformers' admin ports are played in
another process. Every model has a live version and one on trial at 5 % of its requests; its two transformer pods tell evidence
of 200 requests/s that never is enough to decide. Measured is the processor's time that the kernel counts for the operator: asking
the pods, adding up what they tell, the tests, and what is written into the status.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from operator_figures import Measurement, cpu_s, memory_mib
from operator_surroundings import NAMESPACE, Surroundings, cluster_of, model_version
from operator_traffic import RATE, Traffic

from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.servers import ServerMissing, free_port
from penstock_operator.cluster import MODEL_VERSIONS, Object
from penstock_operator.judgement import LOOK_S
from penstock_operator.kube_cluster import KubeCluster

LIMIT_PERCENT = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="windows")
    parser.add_argument("--seconds", type=float, default=4.0, help="a tenth of a window")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    try:
        result = measure(given.models, rounds=given.rounds, seconds=given.seconds)
    except ServerMissing as missing:
        sys.exit(str(missing))
    print(json.dumps(result, indent=1) if given.json else "\n".join(table(result)))


def measure(models: int, *, rounds: int = 3, seconds: float = 4.0) -> dict[str, Any]:
    """CPU in per cent of a core in each window. Raises ServerMissing."""
    with tempfile.TemporaryDirectory() as folder, KubernetesServer(["--watch-cache=true"]) as server:
        row = asyncio.run(Rollouts(server, Path(folder), models, rounds, 10 * seconds).measure())
    return {"bench": "operator_rollouts", "rows": [row], "ratios": {}}


class Rollouts(Measurement):
    """One operator, and models of which each has a version on trial."""

    async def measure(self) -> dict[str, Any]:
        port = free_port()
        cluster = await cluster_of(self._server, self._folder)
        surroundings = Surroundings(cluster, port, Traffic())
        await surroundings.start()
        operator = self._operator(port)
        names = [f"m{number:03}" for number in range(self._models)]
        try:
            for number, strategy, phase in ((1, "immediate", "Live"), (2, "evidence", "Canary")):
                added = [model_version(name, number, strategy=strategy) for name in names]
                await self._add(cluster, operator, added, phase)
            # The first looks write more than the later ones.
            await asyncio.sleep(self._window_s / 2)
            windows = [await self._window(operator.pid, surroundings) for _ in range(self._rounds)]
            undecided = await self._undecided(cluster)
            return {
                "rollouts": self._models,
                "undecided": undecided,
                "memory_mib": round(memory_mib(operator.pid)),
                "requests_per_s": 2 * RATE,
                "window_s": self._window_s,
                "windows": windows,
                **{name: round(statistics.median(one[name] for one in windows), 2) for name in windows[0]},
            }
        finally:
            operator.kill()
            operator.wait()
            await surroundings.close()
            await cluster.close()

    async def _add(self, cluster: KubeCluster, operator: Any, added: list[Object], phase: str) -> None:
        for at in range(0, len(added), 20):
            await asyncio.gather(*(cluster.create(MODEL_VERSIONS, one) for one in added[at : at + 20]))

        async def settled() -> bool:
            found, _ = await cluster.list(MODEL_VERSIONS, NAMESPACE)
            there = {one["metadata"]["name"]: (one.get("status") or {}).get("phase") for one in found}
            return all(there.get(one["metadata"]["name"]) == phase for one in added)

        await self._until(settled, operator, f"all are {phase}")

    async def _window(self, pid: int, surroundings: Surroundings) -> dict[str, float]:
        asked, used, began = surroundings.asked, cpu_s(pid), time.monotonic()
        await asyncio.sleep(self._window_s)
        took, cpu, looks = time.monotonic() - began, cpu_s(pid) - used, (surroundings.asked - asked) / 2
        print(f"{100 * cpu / took:.2f} % of a core, {looks / took:.1f} looks/s", file=sys.stderr)
        return {
            "cpu_percent": round(100 * cpu / took, 2),
            "ms_a_look": round(1e3 * cpu / max(looks, 1), 2),
            "look_every_s": round(self._models * took / max(looks, 1), 2),
        }

    async def _undecided(self, cluster: KubeCluster) -> int:
        """Versions whose evidence was looked at and was not enough, as it has to be to the end."""
        found, _ = await cluster.list(MODEL_VERSIONS, NAMESPACE)
        return sum((one.get("status") or {}).get("reason") == "Undecided" for one in found)


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| rollouts on trial | each looked at every, s | % of a core | most of a window | ms a look | MiB, most |"
    yield "|---|---|---|---|---|---|"
    for row in result["rows"]:
        most = max(one["cpu_percent"] for one in row["windows"])
        yield (
            f"| {row['rollouts']} | {row['look_every_s']} | {row['cpu_percent']} | {most} | {row['ms_a_look']} |"
            f" {row['memory_mib']} |"
        )
    yield ""
    row = result["rows"][0]
    yield f"Limit: {LIMIT_PERCENT:g} % of a core. Windows of {row['window_s']:g} s. Looks are due every {LOOK_S:g} s in a"
    yield "stage's first two minutes, then whenever it is a twentieth older, at the latest after 30 s. Each asks"
    yield f"two pods of {row['requests_per_s']:g} requests/s together for their route and evidence, adds it up, and tests error"
    yield "rate, latency and outputs; every half minute its words are written. At the end"
    yield f"{row['undecided']} of {row['rollouts']} trials were undecided, as they have to be."


if __name__ == "__main__":
    main()
