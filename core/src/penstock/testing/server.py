"""A Penstock program in a subprocess, on ports that the kernel chose, for tests over the wire.

    with ServerProcess("penstock.testing.echo_server", "--drain_delay_s", "0") as server:
        httpx.get(f"{server.url}/v2")

The program's JSON log is read as it comes: it says which ports were chosen and when the program is ready, so nothing is guessed
and nothing sleeps. Every wait has a deadline; what the program wrote is in the error when one passes.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import orjson


class ServerProcess:
    """One program. `port` and `admin_port` are known once it listens, `grpc_port` too if `grpc` was asked for; entering the
    context waits until it is ready. `program`: arguments that come before all options; `prefix`: a command that runs it."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        ready_s: float = 120.0,
        cwd: str | None = None,
        grpc: bool = False,
        program: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        self.module = module
        self.program = program
        self.prefix = prefix
        self.arguments = arguments
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self.ready_s = ready_s
        self.cwd = cwd
        self.port = 0
        self.admin_port = 0
        self.grpc = grpc
        self.grpc_port = 0
        self.lines: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._streams_open = 2

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def start(self) -> Self:
        """Start the program without waiting for it."""
        command = [
            *self.prefix,
            sys.executable,
            "-m",
            self.module,
            *self.program,
            "--host",
            "127.0.0.1",
            "--http_port",
            "0",
            "--admin_port",
            "0",
            "--grpc_port",
            "0" if self.grpc else "-1",
            *self.arguments,
        ]
        self._process = subprocess.Popen(
            command,
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for stream in (self._process.stdout, self._process.stderr):
            reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
            reader.start()
            self._readers.append(reader)
        return self

    def wait_ready(self) -> Self:
        """Wait until the program says that it is ready. Raises RuntimeError with its output if it ends or takes too long."""
        event = self.wait_event("ready", self.ready_s)
        self.port = event["port"]
        listening = [entry for entry in self.events if entry.get("event") in ("listening", "supervising")]
        self.admin_port = next((entry["admin_port"] for entry in listening if entry.get("admin_port")), 0)
        self.grpc_port = next((entry["grpc_port"] for entry in listening if entry.get("grpc_port")), 0)
        return self

    def wait_event(self, name: str, within_s: float, where: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The first log line whose event is `name` and that `where` accepts, waiting for it if need be.

        A program with several workers is ready when its parent says so, which is the line that counts workers.
        """

        def found() -> dict[str, Any] | None:
            for entry in self.events:
                if (
                    entry.get("event") == name
                    and where(entry)
                    and not (name == "ready" and self._supervised() and "workers" not in entry)
                ):
                    return entry
            return None

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self.output_ended, within_s)
            event = found()
        if event is None:
            raise RuntimeError(f"{self.module}: no {name!r} within {within_s:g} s; it wrote:\n" + "\n".join(self.lines[-50:]))
        return event

    @property
    def output_ended(self) -> bool:
        """Whether every process that could still write has ended."""
        return self._streams_open == 0

    def signal(self, number: int) -> None:
        """Send it this signal; nothing happens if it has ended."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, within_s: float = 60.0) -> int:
        """The exit status, waiting for it. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        code = self._process.wait(within_s)
        for reader in self._readers:
            reader.join(within_s)
        return code

    def stop(self, within_s: float = 60.0) -> int:
        """SIGTERM, then the exit status. A program that does not end is killed, and that raises."""
        assert self._process is not None
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.wait()
            raise

    def kill(self) -> None:
        """End it at once, whatever state it is in, stopped too; returns when it has ended."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.wait()

    def __enter__(self) -> Self:
        self.start()
        try:
            return self.wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _supervised(self) -> bool:
        return any(entry.get("event") == "supervising" for entry in self.events)

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                self._note(line.rstrip("\n"))
        with self._changed:
            self._streams_open -= 1
            self._changed.notify_all()

    def _note(self, line: str) -> None:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            event = None
        with self._changed:
            self.lines.append(line)
            if isinstance(event, dict):
                self.events.append(event)
            self._changed.notify_all()
