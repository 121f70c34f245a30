"""What the benchmarks of whole servers stand on: processes held to a core, wrk as the load, and what the kernel counted for them.

Servers run on the first core that this process may use; wrk and the stores on the last. wrk is a closed loop of whole seconds.
"""

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from penstock.testing.servers import free_port

CORES = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = str(CORES[0]), str(CORES[-1])
# Without its bytecode cache every start of a program compiles its imports anew: seconds for Feast.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
START_S = 60.0
_LONGEST_WITHOUT_S = 16

Key = TypeVar("Key")


def require(bench: str, *programs: str) -> None:
    """Exit with a line that names the missing programs and their Debian packages, which have the programs' names."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit(f"{bench} needs {' and '.join(missing)} (Debian: apt-get install {' '.join(missing)})")


def reason_shown(reason: str) -> str:
    """Why something was not measured, as the page tells it: one line of moderate length, files without this machine's folders."""
    line = " ".join(re.sub(r"(?:/[\w.-]+)+/", "", reason.replace("\\n", " ")).split())
    return line if len(line) <= 160 else f"{line[:157]}..."


def medians(samples: Sequence[dict[Key, float]], digits: int = 2) -> dict[Key, float]:
    """The median of each figure over the rounds."""
    return {key: round(statistics.median(sample[key] for sample in samples), digits) for key in samples[0]}


@contextmanager
def redis(directory: Path) -> Iterator[int]:
    """A Redis of its own on the load's core, without persistence; its port."""
    port = free_port()
    options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(directory), "--bind", "127.0.0.1"]
    process = subprocess.Popen(["taskset", "-c", LOAD_CPU, "redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def processes(commands: Sequence[Sequence[str]], port: int, log: Path, cores: Sequence[str] = ()) -> Iterator[list[int]]:
    """Python programs on the servers' core (or one each of `cores`), once the server at `port` is ready; their process ids."""
    cores = cores or [SERVER_CPU] * len(commands)
    with log.open("ab") as output:
        started = [
            subprocess.Popen(["taskset", "-c", core, sys.executable, *command], stdout=output, stderr=output, env=ENVIRONMENT)
            for core, command in zip(cores, commands, strict=True)
        ]
    try:
        _wait_ready(port, started, log)
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(30)


def _wait_ready(port: int, started: "Sequence[subprocess.Popen[bytes]]", log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and all(process.poll() is None for process in started):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready") as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    sys.exit(f"the servers did not get ready:\n{log.read_text()[-2000:]}")


def load(url: str, pids: Sequence[int], script: Path, connections: int, seconds: float) -> dict[str, float]:
    """One run of wrk, after a second of warm-up unless it takes no longer itself.

    Requests/s, latency in ms, CPU us a request of all processes (`cpu_us`) and of each (`cpu_us_0` …). Exits on any answer that
    is not 200.
    """
    if seconds > 1:
        wrk(url, script, connections, 1)
    before = [cpu_s(pid) for pid in pids]
    requests, duration_us, p50_us, p99_us = wrk(url, script, connections, seconds)
    used = [cpu_s(pid) - was for pid, was in zip(pids, before, strict=True)]
    found = {
        "requests_per_s": requests / duration_us * 1e6,
        "cpu_us": sum(used) / requests * 1e6,
        "p50_ms": p50_us / 1e3,
        "p99_ms": p99_us / 1e3,
    }
    return found | {f"cpu_us_{place}": one / requests * 1e6 for place, one in enumerate(used)}


def wrk(url: str, script: Path, connections: int, seconds: float) -> list[int]:
    """Requests, duration, median and 99th percentile latency (us) of one run of a script that prints them (`RESULT_LINE`)."""
    duration = max(1, round(seconds))
    options = ["-t1", "--timeout", "20s", f"-c{connections}", f"-d{duration}s", "-s", str(script)]
    done = subprocess.run(["taskset", "-c", LOAD_CPU, "wrk", *options, url], capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        sys.exit(f"wrk printed no result: {(done.stderr or done.stdout)[-500:]}")
    *figures, bad, broken = [int(part) for part in line.split()[1:]]
    # A status other than 200 must not look like speed.
    if not (figures[0] or bad or broken) and duration < _LONGEST_WITHOUT_S:
        # The shortest runs may end before the first answer on a machine that does much else.
        return wrk(url, script, connections, 4 * duration)
    if bad or broken or not figures[0]:
        sys.exit(f"{bad} bad answers, {broken} broken connections of {figures[0]} requests ({script.name})")
    return figures


RESULT_LINE = """done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


def cpu_s(pid: int) -> float:
    """User and system time of a process and its threads so far."""
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """The resident set of a process."""
    return _status_mib(pid, "VmRSS")


def most_resident_mib(pid: int) -> float:
    """The most that its resident set has been."""
    return _status_mib(pid, "VmHWM")


def _status_mib(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1024


def post_script(*requests: tuple[bytes, dict[str, str]]) -> str:
    """A wrk script that posts these bodies in turn, each with its headers, and prints the result line."""
    made = ",\n".join(f'    wrk.format("POST", nil, {{{_lua(headers)}}}, "{_escaped(body)}")' for body, headers in requests)
    return f"""function init(args)
  made, place = {{
{made}}}, 0
end
function request()
  place = place % {len(requests)} + 1
  return made[place]
end
{RESULT_LINE}"""


def _lua(headers: dict[str, str]) -> str:
    return ", ".join(f'["{name}"] = "{value}"' for name, value in headers.items())


def _escaped(body: bytes) -> str:
    return "".join(f"\\{byte:03d}" for byte in body)
