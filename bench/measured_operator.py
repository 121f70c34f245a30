"""The operator that is measured: its program, a client of the API server that it works on, and what is played around it.

    async with measured_operator(server, folder) as operator:
        await operator.add(versions, "Live")
        cpu_s(operator.pid)
        operator.spent()         of one that is `timed`: what of that its judgements took

What it says goes into a log, whose end is printed when something that is waited for does not come.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from operator_surroundings import NAMESPACE, Surroundings, cluster_of
from operator_traffic import Traffic
from timed_operator import Spent, make_file, read_spent

from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.servers import free_port
from penstock_operator.cluster import MODEL_VERSIONS, ClusterError, Object
from penstock_operator.kube_cluster import KubeCluster

# The first of an operator's life: it has to read everything, and the caches of the API server are cold.
LIMIT_S = 600.0
AT_ONCE = 20
_PLAIN = ("-m", "penstock_operator")
_TIMED = str(Path(__file__).with_name("timed_operator.py"))


@dataclass(frozen=True)
class MeasuredOperator:
    """One operator at work."""

    cluster: KubeCluster
    surroundings: Surroundings
    process: "subprocess.Popen[bytes]"
    log: Path
    times: Path | None

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    def spent(self) -> dict[str, Spent]:
        """The processor's time that its judgements have taken; nothing of one that is not timed."""
        return read_spent(self.times) if self.times is not None else {}

    async def versions(self) -> list[Object]:
        """All ModelVersions."""
        found, _ = await self.cluster.list(MODEL_VERSIONS, NAMESPACE)
        return list(found)

    async def add(self, added: list[Object], phase: str) -> None:
        """Make ModelVersions; returns when the operator has brought each of them to the phase."""
        for at in range(0, len(added), AT_ONCE):
            await asyncio.gather(*(self.cluster.create(MODEL_VERSIONS, one) for one in added[at : at + AT_ONCE]))

        async def settled() -> bool:
            there = {one["metadata"]["name"]: (one.get("status") or {}).get("phase") for one in await self.versions()}
            return all(there.get(one["metadata"]["name"]) == phase for one in added)

        await self.until(settled, f"all are {phase}")

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str, *, pause_s: float = 0.2) -> None:
        """Wait until it holds. Exits when it does not in time, or when the operator has ended."""
        deadline = time.monotonic() + LIMIT_S
        while not await _holds(condition):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"not within {LIMIT_S:g} s: {what}\n{self.log.read_text()[-4000:]}")
            await asyncio.sleep(pause_s)


@asynccontextmanager
async def measured_operator(
    server: KubernetesServer, folder: Path, traffic: Traffic | None = None, *, timed: bool = False
) -> AsyncIterator[MeasuredOperator]:
    """An operator from its start to its end, with `traffic` as what the transformers count. `timed`: its judgements are."""
    port = free_port()
    cluster = await cluster_of(server, folder)
    surroundings = Surroundings(cluster, port, traffic)
    await surroundings.start()
    log, times = folder / "operator.log", folder / "operator.times" if timed else None
    program: tuple[str, ...] = _PLAIN
    if times is not None:
        make_file(times)
        program = (_TIMED, str(times))
    process = _start(program, folder / "kubeconfig", port, log)
    try:
        yield MeasuredOperator(cluster, surroundings, process, log, times)
    finally:
        process.kill()
        process.wait()
        await surroundings.close()
        await cluster.close()


def _start(program: tuple[str, ...], kubeconfig: Path, transformer_port: int, log: Path) -> "subprocess.Popen[bytes]":
    options = [f"--kubeconfig={kubeconfig}", "--lease_namespace=default", f"--transformer_admin_port={transformer_port}"]
    command = [sys.executable, *program, *options, f"--http_port={free_port()}", "--admin_port=0"]
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


async def _holds(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it does; an API server that gives no answer in time is asked again."""
    try:
        return await condition()
    except ClusterError:
        return False
