"""The parent of several workers: starts them, restarts those that die, adds up their counters, hands signals on.

    parent (holds the port, serves the admin port)
      +-- worker 1 --\\
      +-- worker 2 ---+-- each the same program started again, on the same port (SO_REUSEPORT), tied to the parent by a `Link`

A worker is this program's own command line with `PENSTOCK_WORKER` set, so it comes up exactly as a lone process does and shares
no state with the parent. A worker that dies is replaced, with growing pauses if it keeps dying; one that fails before any worker
was ever ready ends the program, as a lone process would end. One that hangs at the end is killed.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import NotReady, PenstockError
from penstock.lifecycle import State
from penstock.metrics import Snapshot
from penstock.serving.admin import AdminSource
from penstock.serving.exposition import combined, render, retired
from penstock.serving.link import Link
from penstock.serving.options import ServingSettings
from penstock.serving.process import admin_server
from penstock.serving.readiness import Reasons, merged_reasons

logger = logging.getLogger(__name__)

VARIABLE = "PENSTOCK_WORKER"
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_SETTLED_S = 30.0
_LAST_WORD_S = 2.0
# A probe waits no longer for a worker; kubelets give a probe a second or two.
_PROBE_S = 0.8
# The longest of what is asked: loading a model, which verifies, measures and may build an engine.
_ADMIN_S = 1800.0


@dataclass(frozen=True)
class WorkerPlace:
    """What a worker learns from its parent: the shared ports (gRPC's None where it is off) and its end of the link."""

    port: int
    grpc_port: int | None
    link: socket.socket


def worker_place(env: Mapping[str, str]) -> WorkerPlace | None:
    """This process's place if it was started as a worker, else None."""
    text = env.get(VARIABLE)
    if text is None:
        return None
    descriptor, port, grpc_port = text.split(":")
    return WorkerPlace(int(port), int(grpc_port) if grpc_port else None, socket.socket(fileno=int(descriptor)))


@dataclass
class Worker:
    """One worker as the parent sees it."""

    number: int
    process: asyncio.subprocess.Process
    link: Link
    began: float
    state: str = State.STARTING.value
    last: Snapshot = field(default_factory=lambda: {"models": [], "families": []})


class Supervisor:
    """Runs `count` workers until a signal."""

    def __init__(
        self,
        count: int,
        settings: ServingSettings,
        sock: socket.socket,
        admin: socket.socket | None,
        grpc: socket.socket | None = None,
    ) -> None:
        self.count = count
        self.settings = settings
        self.sock = sock
        self.admin_socket = admin
        # Held for its port alone, as `sock` is: the workers listen.
        self.grpc_socket = grpc
        self.workers: dict[int, Worker] = {}
        self.retired: list[Snapshot] = []
        self.admin_listing: list[dict[str, str]] = []
        self.stopping = asyncio.Event()
        self.was_ready = False
        self.code = 0

    async def run(self) -> int:
        """Supervise until all workers are gone. The exit status: 0, or 1 if it could not start or a worker hung at the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        port = self.sock.getsockname()[1]
        fields = {
            "port": port,
            "admin_port": self.admin_socket.getsockname()[1] if self.admin_socket else None,
            "grpc_port": self.grpc_socket.getsockname()[1] if self.grpc_socket else None,
            "workers": self.count,
        }
        logger.info("supervising", extra=fields)
        admin = admin_server(AdminSource(self._ask_admin, self._metrics, self._status), self.settings)
        serving = asyncio.create_task(admin.serve([self.admin_socket])) if self.admin_socket is not None else None
        await asyncio.gather(*(self._keep(number) for number in range(self.count)))
        if serving is not None:
            admin.should_exit = True
            await serving
        self.sock.close()
        if self.grpc_socket is not None:
            self.grpc_socket.close()
        logger.info("stopped", extra={"code": self.code})
        return self.code

    def _on_signal(self) -> None:
        if not self.stopping.is_set():
            # Both halves of a drain, the server's and the stop hooks', have the time-out to themselves.
            settings = self.settings
            limit_s = settings.drain_delay_s + 2 * settings.drain_timeout_s + _LAST_WORD_S
            asyncio.get_running_loop().call_later(limit_s, self._kill_hung)
        self.stopping.set()
        for worker in self.workers.values():
            _terminate(worker)

    def _kill_hung(self) -> None:
        """A worker that has not ended by now never will."""
        for worker in self.workers.values():
            logger.error("worker hangs, killed", extra={"worker": worker.number, "worker_pid": worker.process.pid})
            self.code = 1
            _signal(worker, signal.SIGKILL)

    async def _keep(self, number: int) -> None:
        """Keep one worker running: start it, wait for its end, start another."""
        pause_s = _FIRST_PAUSE_S
        while not self.stopping.is_set():
            worker, code = await self._live(number)
            if self.stopping.is_set():
                return
            if code != 0 and not self.was_ready:
                logger.error("worker failed to start", extra={"worker": number, "code": code})
                self.code = 1
                self._on_signal()
                return
            pause_s = _FIRST_PAUSE_S if time.monotonic() - worker.began > _SETTLED_S else min(pause_s * 2, _LONGEST_PAUSE_S)
            logger.error("worker died", extra={"worker": number, "code": code, "restart_in_s": pause_s})
            try:
                await asyncio.wait_for(self.stopping.wait(), pause_s)
            except TimeoutError:
                pass

    async def _live(self, number: int) -> tuple[Worker, int]:
        """One worker's life, from its start to its exit status."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *sys.orig_argv[1:],
                env={**os.environ, VARIABLE: f"{theirs.fileno()}:{self._ports()}"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # A group of its own: a terminal's Ctrl-C reaches the parent alone, which hands it on once.
                process_group=0,
            )
        worker = Worker(number, process, Link({}), time.monotonic())
        worker.link = Link(self._handlers(worker))
        await worker.link.connect(ours)
        self.workers[number] = worker
        if self.stopping.is_set():
            _terminate(worker)
        logger.info("worker started", extra={"worker": number, "worker_pid": process.pid})
        reading = asyncio.create_task(worker.link.run())
        code = await process.wait()
        await reading
        del self.workers[number]
        self._retire(worker.last)
        return worker, code

    def _ports(self) -> str:
        """The shared ports, as `worker_place` reads them."""
        grpc_port = str(self.grpc_socket.getsockname()[1]) if self.grpc_socket is not None else ""
        return f"{self.sock.getsockname()[1]}:{grpc_port}"

    def _handlers(self, worker: Worker) -> dict[str, Any]:
        async def on_state(arguments: dict[str, Any]) -> dict[str, Any]:
            worker.state = arguments["state"]
            self.admin_listing = arguments.get("admin", self.admin_listing)
            self._note_ready()
            return {}

        async def on_snapshot(arguments: dict[str, Any]) -> dict[str, Any]:
            worker.last = arguments
            return {}

        async def on_metrics(_: dict[str, Any]) -> dict[str, Any]:
            return {"snapshots": await self._snapshots()}

        # What a worker was asked on the serving port and is every worker's business.
        return {"state": on_state, "snapshot": on_snapshot, "metrics": on_metrics, "admin": self._ask_admin}

    def _note_ready(self) -> None:
        everyone = len(self.workers) == self.count and all(worker.state == State.READY.value for worker in self.workers.values())
        if everyone and not self.was_ready:
            self.was_ready = True
            logger.info("ready", extra={"port": self.sock.getsockname()[1], "workers": self.count})

    def _retire(self, last: Snapshot) -> None:
        """Keep a dead worker's counters. All dead workers become one snapshot, however many there were."""
        self.retired = [combined([*self.retired, retired(last)])]

    async def _snapshots(self) -> list[Snapshot]:
        """Every worker's counters as of now, or as it last told them if it does not answer."""

        async def ask(worker: Worker) -> Snapshot:
            try:
                worker.last = await worker.link.ask("snapshot", timeout_s=1.0)
            except PenstockError:
                pass
            return worker.last

        return [*self.retired, *await asyncio.gather(*(ask(worker) for worker in list(self.workers.values())))]

    # --- the admin port

    async def _ask_admin(self, question: dict[str, Any]) -> Any:
        """Every worker's answer, made one. Raises the first error: a program is as far as its last worker."""
        workers = [worker for worker in self.workers.values() if worker.state != State.STOPPED.value]
        if not workers:
            raise NotReady("no worker is running")
        answers = await asyncio.gather(*(worker.link.ask("admin", question, timeout_s=_ADMIN_S) for worker in workers))
        return await workers[0].link.ask("merge", {"question": question, "answers": answers})

    async def _metrics(self) -> bytes:
        return render(await self._snapshots())

    async def _status(self) -> dict[str, Any]:
        async def ask(worker: Worker) -> Reasons:
            try:
                found: Reasons = await worker.link.ask("reasons", timeout_s=_PROBE_S)
            except PenstockError:
                return {"lifecycle": f"worker {worker.number} does not answer"}
            return found

        workers = [{"pid": worker.process.pid, "state": worker.state} for worker in self.workers.values()]
        answers = await asyncio.gather(*(ask(worker) for worker in list(self.workers.values())))
        reasons = merged_reasons(answers, count=self.count)
        return {"workers": workers, "ready": not reasons, "reasons": reasons, "routes": self.admin_listing}


def _terminate(worker: Worker) -> None:
    _signal(worker, signal.SIGTERM)


def _signal(worker: Worker, number: signal.Signals) -> None:
    try:
        worker.process.send_signal(number)
    except ProcessLookupError:
        pass
