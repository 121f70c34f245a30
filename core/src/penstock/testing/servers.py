"""Real Redis and PostgreSQL servers for tests and benchmarks: subprocesses on ports that the kernel chose, gone when they close.

    with RedisServer() as redis: open_store(redis.url(), …)          redis.kill(), .start(), .pause(), .resume() cause the faults

A server keeps its port and its data over `kill` and `start`, so that reconnecting can be tested. `ServerMissing` says in one line
what to install; a test skips with that line. PostgreSQL refuses to run as root: it is started as `postgres` or `nobody` there.
"""

import asyncio
import glob
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

from penstock.testing.waiting import until

START_S = 30.0
_AGAIN_S = 1.0
_PAUSE_S = 0.02
_TRIES = 3


class ServerMissing(Exception):
    """A server's program is not installed; the message says how to get it."""


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A subprocess that listens on `port` of the loopback address, with a directory of its own."""

    name = "server"
    start_s = START_S

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.directory = Path(tempfile.mkdtemp(prefix=f"penstock-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._silenced = False
        self._log = self.directory / "server.log"

    def command(self) -> list[str]:
        """The program and its arguments, for the current port."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the server takes requests."""
        raise NotImplementedError

    def user(self) -> str | None:
        """The user to run as; None for this one."""
        return None

    @property
    def running(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start, or start again on the same port and data. Raises RuntimeError with the log if it does not come up."""
        fresh = not self.port
        self._silenced = False
        for attempt in range(_TRIES):
            if fresh:
                self.port = free_port()
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command(), cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self.user()
                )
            if self._came_up(self._process):
                return self
            # One that is alive and says nothing is not left behind.
            self.kill()
            if attempt == _TRIES - 1:
                break
            if not fresh:
                # Children of one that was killed may hold its memory or its port for a moment.
                time.sleep(_AGAIN_S)
        raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def _came_up(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + self.start_s
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            if self.answers():
                return True
            time.sleep(_PAUSE_S)
        return False

    def kill(self) -> None:
        """End it and its children at once, as a crash of the machine would; what is paused stays silent."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Let it hold its connections and answer nothing."""
        self._silenced = True
        self._signal(signal.SIGSTOP)
        # A thread that runs at this moment may answer yet.
        until(lambda: all(_is_stopped(process) for process in self._processes()), START_S, "the server stops")

    def resume(self) -> None:
        """Let it go on."""
        self._silenced = False
        self._signal(signal.SIGCONT)

    def mend(self) -> None:
        """Let it run, whatever was done to it since it was started."""
        if not self.running:
            self.start()
        elif self._silenced:
            self.resume()

    def _signal(self, how: signal.Signals) -> None:
        for process in self._processes():
            # A child may be gone by now.
            with suppress(ProcessLookupError):
                os.kill(process, how)

    def _processes(self) -> list[int]:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [self._process.pid, *([int(child) for child in children.read_text().split()] if children.exists() else [])]

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_stopped(process: int) -> bool:
    """Whether no thread of a process runs; True where there is no /proc to tell."""
    for status in Path(f"/proc/{process}/task").glob("*/stat"):
        # A thread may be gone by now.
        with suppress(OSError):
            if status.read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return False
    return True


class RedisServer(Server):
    """Redis without persistence (unless `durable`). `tls`: (certificate, key) files; then it speaks TLS only."""

    name = "redis"

    def __init__(self, *, password: str | None = None, tls: tuple[Path, Path] | None = None, durable: bool = False) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerMissing("redis-server is missing: apt-get install redis-server")
        super().__init__()
        self._program = program
        self._password = password
        self._tls = tls
        self._durable = durable

    def command(self) -> list[str]:
        """redis-server, configured by arguments alone."""
        port = ["--port", str(self.port)]
        if self._tls:
            certificate, key = map(str, self._tls)
            port = ["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", certificate, "--tls-key-file", key]
            port += ["--tls-auth-clients", "no"]
        password = ["--requirepass", self._password] if self._password else []
        kept = ["--appendonly", "yes", "--appendfsync", "always"] if self._durable else ["--appendonly", "no"]
        return [self._program, *port, "--bind", self.host, "--save", "", *kept, "--dir", str(self.directory), *password]

    def answers(self) -> bool:
        """It accepts connections once it has loaded what it kept."""
        try:
            with socket.create_connection((self.host, self.port), 1) as connection:
                if self._tls:
                    return True
                connection.sendall(b"PING\r\n")
                reply = connection.recv(64)
                return reply.startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def url(self, database: int = 0, *, password: str | None = None, host: str | None = None) -> str:
        """Its URL; `password` in place of the right one."""
        given = password if password is not None else self._password
        login = f":{quote(given, safe='')}@" if given else ""
        return f"{'rediss' if self._tls else 'redis'}://{login}{host or self.host}:{self.port}/{database}"


class PostgresServer(Server):
    """PostgreSQL with one superuser, who needs the password, and one database named as the user."""

    name = "postgres"
    username = "penstock"
    password = "p@ss/word"

    def __init__(self) -> None:
        self._programs = _postgres_programs()
        super().__init__()
        self._data = self.directory / "data"
        self._schemas = itertools.count(1)

    def start(self) -> Self:
        """Make the cluster on first use, then start it."""
        if not self._data.exists():
            self._initialise()
        return super().start()

    def _initialise(self) -> None:
        secret = self.directory / "secret"
        secret.write_text(self.password)
        owner = self.user()
        if owner:
            for path in (self.directory, secret):
                shutil.chown(path, owner)
        arguments = ["-D", str(self._data), "-U", self.username, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8"]
        command = [str(self._programs / "initdb"), *arguments, "--locale=C", "--no-sync", "--no-instructions"]
        made = subprocess.run(command, cwd=self.directory, user=owner, capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stdout}{made.stderr}")
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {self.host}/24 scram-sha-256\n")
        # In single-user mode, where no password is asked for: initdb itself cannot make a database.
        single = [str(self._programs / "postgres"), "--single", "-D", str(self._data), "postgres"]
        statement = f"CREATE DATABASE {self.username}".encode()
        subprocess.run(single, input=statement, cwd=self.directory, user=owner, capture_output=True, check=True)

    def user(self) -> str | None:
        """Someone who is not root."""
        if os.geteuid():
            return None
        known = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in known else "nobody"

    def command(self) -> list[str]:
        """postgres without the safety of its disk writes, which a test does not need."""
        settings = {
            "listen_addresses": self.host,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "50",
            "timezone": "UTC",
            # Shared memory in its own folder: a server that is killed, as tests do, leaves none in /dev/shm.
            "dynamic_shared_memory_type": "mmap",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]

    def answers(self) -> bool:
        """What pg_isready says."""
        command = [str(self._programs / "pg_isready"), "-q", "-h", self.host, "-p", str(self.port), "-t", "2"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def stop(self) -> None:
        """End it without waiting for clients to leave."""
        self._end(signal.SIGINT)

    def url(self, *, password: str | None = None) -> str:
        """Its URL; `password` in place of the right one."""
        given = quote(password if password is not None else self.password, safe="")
        return f"postgresql://{self.username}:{given}@{self.host}:{self.port}/{self.username}"

    def own_schema(self) -> str:
        """The URL of a schema that is made for the caller, and empty."""
        import asyncpg

        name = f"own{next(self._schemas)}"

        async def make() -> None:
            connection = await asyncpg.connect(self.url())
            await connection.execute(f"CREATE SCHEMA {name}")
            await connection.close()

        asyncio.run(make())
        return f"{self.url()}?search_path={name}"


def _postgres_programs() -> Path:
    # Debian keeps the server's programs out of the PATH; what the PATH calls `postgres` may be anything.
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
    if found:
        return Path(found[-1]).parent
    program = shutil.which("initdb")
    if program and (Path(program).parent / "postgres").exists():
        return Path(program).parent
    raise ServerMissing("PostgreSQL is missing: apt-get install postgresql")
