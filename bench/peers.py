"""Requests a second of every Python server that a user would otherwise pick, beside ours: the same models, the same load.

    python bench/peers.py [--rounds 1] [--seconds 2] [--peers penstock,KServe] [--models small,large] [--json]

One core for the server and all its processes, one for the load (wrk, a closed loop; ghz for gRPC if it is installed). Every round
starts every server afresh. Peers are installed once, each into an environment of its own; one that cannot be installed or
started is named with the reason, and the others are measured all the same.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import peer_models
from command_line import command_line, parsed, show
from peer_table import CACHE, PEERS, SCRIPTS, Body, Form, Peer, Start, python_of
from rig import ENVIRONMENT, LOAD_CPU, SERVER_CPU, cpu_s, medians, post_script, reason_shown, require, resident_mib, wrk

from penstock.testing.servers import free_port

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent / "core/src/penstock/protocol/grpc/inference.proto"
CONNECTIONS = (1, 8, 64, 256)
# Where a figure stands for the whole: the row and number of connections that the ratios are made of.
HEADLINE = 64
START_S = 90.0
# What the bodies of one load may take together; a wrk script of them has four times that.
_SCRIPT_BYTES = 1 << 20


class Unavailable(Exception):
    """A peer that could not be installed, started or asked, with what it said."""


def main() -> None:
    parser = command_line(__doc__, rounds=1, seconds=2.0)
    parser.add_argument("--peers", default=",".join(PEERS).replace(", batching", "+"), help="names; + after one for its batching")
    parser.add_argument("--models", default=",".join(peer_models.MODELS))
    parser.add_argument("--connections", default=",".join(map(str, CONNECTIONS)))
    given = parsed(parser)
    require("bench/peers.py", "wrk", "taskset")
    peers = [name.replace("+", ", batching") for name in given.peers.split(",")]
    connections = [int(part) for part in given.connections.split(",")]
    result = measure(peers, given.models.split(","), connections, given.rounds, given.seconds)
    show(given, result, table)


def measure(peers: list[str], models: list[str], connections: list[int], rounds: int, seconds: float) -> dict[str, Any]:
    """All peers, models, forms and numbers of connections; the floor; and our ratios to the best of the targets."""
    samples: dict[tuple[str, str, str, int], list[dict[str, float]]] = {}
    starts: dict[str, list[dict[str, float]]] = {}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = peer_models.save(Path(folder), models)
        for _ in range(rounds):
            for name in peers:
                for model in models:
                    if model in PEERS[name].skip:
                        continue
                    print(f"{name}: {model}", file=sys.stderr, flush=True)
                    try:
                        _measure_one(name, model, files[model], connections, seconds, samples, starts, failures)
                    except (Unavailable, subprocess.CalledProcessError) as failure:
                        failures[f"{name}, {model}"] = str(failure)[-500:]
        floors = {model: floor(files[model], model) for model in models}
    rows = [
        {"server": name, "model": model, "form": form, "connections": count} | medians(found)
        for (name, model, form, count), found in samples.items()
    ]
    started = [{"server": name} | medians(found) for name, found in starts.items()]
    return {"bench": "peers", "rows": rows, "starts": started, "floor": floors, "ratios": ratios(rows), "failures": failures}


def _measure_one(
    name: str,
    model: str,
    file: Path,
    connections: list[int],
    seconds: float,
    samples: dict[tuple[str, str, str, int], list[dict[str, float]]],
    starts: dict[str, list[dict[str, float]]],
    failures: dict[str, str],
) -> None:
    peer = PEERS[name]
    with running(peer, file, model) as (start, pid, start_s):
        forms = {form: make for form, make in peer.forms.items() if form != "json" or peer_models.MODELS[model].json}
        for form, make in forms.items():
            script = start.directory / f"{form}.lua"
            script.write_text(post_script(*bodies(make, model, 1)))
            for count in connections:
                try:
                    found = load(f"http://127.0.0.1:{start.port}{peer.path}", pid, script, count, seconds)
                except SystemExit as failure:
                    failures[f"{name}, {model}, {form}, {count} connections"] = str(failure)
                    continue
                samples.setdefault((name, model, form, count), []).append(found)
        if peer.grpc and (program := ghz()) is not None:
            message = start.directory / "message.bin"
            message.write_bytes(peer_models.grpc_message(model))
            for count in connections:
                try:
                    found = grpc_load(program, start.grpc_port, pid, message, count, seconds)
                except Unavailable as failure:
                    failures[f"{name}, {model}, gRPC, {count} calls at once"] = str(failure)
                    continue
                samples.setdefault((name, model, "gRPC", count), []).append(found)
        memory = sum(resident_mib(child) for child in tree(pid))
        if model == "small":
            starts.setdefault(name, []).append({"start_s": start_s, "resident_mib": memory})


def bodies(make: Form, model: str, rows: int) -> list[Body]:
    """Requests with different values: the same ones again and again would teach the processor a model's branches."""
    first = make(model, rows, 1)
    count = min(64, max(2, _SCRIPT_BYTES // len(first[0])))
    return [first, *(make(model, rows, seed) for seed in range(2, count + 1))]


@contextmanager
def running(peer: Peer, model: Path, name: str) -> Iterator[tuple[Start, int, float]]:
    """A peer on its core, once it answers a request: how it was started, its process id, and the seconds that took."""
    python = python_of(peer)
    with tempfile.TemporaryDirectory() as folder:
        start = Start(python, model, free_port(), free_port() if peer.grpc else 0, Path(folder))
        log = start.directory / "server.log"
        environment = ENVIRONMENT | {"BENCH_MODEL": str(model), "PYTHONPATH": str(SCRIPTS)} | peer.environment
        began = time.monotonic()
        with log.open("wb") as output:
            command = ["taskset", "-c", SERVER_CPU, *peer.command(start)]
            process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=folder, start_new_session=True)
        try:
            _wait(peer, name, start, process, log)
            yield start, process.pid, time.monotonic() - began
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Stop a server and whatever it started: some leave children behind."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        pass
    for child in [*tree(process.pid), process.pid]:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(15)


def _wait(peer: Peer, name: str, start: Start, process: "subprocess.Popen[bytes]", log: Path) -> None:
    form = "json" if "json" in peer.forms and peer_models.MODELS[name].json else list(peer.forms)[-1]
    body, headers = peer.forms[form](name, 1, 1)
    until = time.monotonic() + START_S
    said = ""
    while time.monotonic() < until and process.poll() is None:
        request = urllib.request.Request(f"http://127.0.0.1:{start.port}{peer.path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except urllib.error.HTTPError as error:
            said = f"{error.code}: {error.read()[:300]!r}"
        except OSError as error:
            said = str(error)
        time.sleep(0.05)
    raise Unavailable(f"did not answer ({said}): {log.read_text(errors='replace')[-800:]}")


def load(url: str, pid: int, script: Path, connections: int, seconds: float) -> dict[str, float]:
    """One run of wrk after a second of warm-up: requests/s, latency in ms, CPU us a request of the server's whole tree."""
    wrk(url, script, connections, 1)
    before = {child: cpu_s(child) for child in tree(pid)}
    requests, duration_us, p50_us, p99_us = wrk(url, script, connections, seconds)
    used = sum(cpu_s(child) - before.get(child, 0.0) for child in tree(pid))
    return {
        "requests_per_s": requests / duration_us * 1e6,
        "cpu_us": used / requests * 1e6,
        "p50_ms": p50_us / 1e3,
        "p99_ms": p99_us / 1e3,
    }


def ghz() -> str | None:
    """The gRPC load generator (Go module github.com/bojand/ghz), None if it is not installed."""
    cached = CACHE.parent / "go" / "bin" / "ghz"
    return shutil.which("ghz") or (str(cached) if cached.exists() else None)


def grpc_load(program: str, port: int, pid: int, message: Path, calls: int, seconds: float) -> dict[str, float]:
    """One run of ghz: so many calls at once over at most eight connections. Raises Unavailable on any status but OK."""
    before = {child: cpu_s(child) for child in tree(pid)}
    options = ["--insecure", "--proto", str(PROTO), "--call", "inference.GRPCInferenceService/ModelInfer", "-B", str(message)]
    shape = [
        "-c",
        str(calls),
        "--connections",
        str(min(calls, 8)),
        "-z",
        f"{max(2, round(seconds))}s",
        "--duration-stop",
        "ignore",
    ]
    command = ["taskset", "-c", LOAD_CPU, program, *options, *shape, "-O", "json", f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise Unavailable(f"ghz: {(done.stderr or done.stdout)[-300:]}") from None
    statuses = found.get("statusCodeDistribution") or {}
    if not statuses:
        # Calls that are under way at the end do not count, and these took longer than that.
        raise Unavailable(f"ghz: none of {calls} calls at once was answered in {max(2, round(seconds))} s; {_told(found, done)}")
    if set(statuses) != {"OK"}:
        raise Unavailable(f"ghz: {statuses}")
    used = sum(cpu_s(child) - before.get(child, 0.0) for child in tree(pid))
    at = {part["percentage"]: part["latency"] / 1e6 for part in found["latencyDistribution"]}
    return {"requests_per_s": found["rps"], "cpu_us": used / found["count"] * 1e6, "p50_ms": at[50], "p99_ms": at[99]}


def _told(found: dict[str, Any], done: "subprocess.CompletedProcess[str]") -> str:
    """What else ghz has to say."""
    return str(found.get("errorDistribution") or done.stderr.strip()[-300:] or "it names no error")


def tree(pid: int) -> list[int]:
    """A process and everything that it started, as far as it is still there."""
    found, wanted = [], [pid]
    while wanted:
        one = wanted.pop()
        if Path(f"/proc/{one}/stat").exists():
            found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                wanted += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def floor(file: Path, model: str) -> dict[str, float]:
    """The session in a loop on the servers' core with ever other rows, rows/s by batch size as text: what no server can beat."""
    code = (
        "import sys, time; from pathlib import Path; from session import Session; import peer_models\n"
        "session = Session(Path(sys.argv[1])); found = {}\n"
        "for rows in (1, 8, 32, 64):\n"
        "    batches = [peer_models.values(sys.argv[2], rows, seed) for seed in range(int(sys.argv[3]) // rows + 2)]\n"
        "    session(batches[0]); count, until = 0, time.perf_counter() + 1\n"
        "    while time.perf_counter() < until: session(batches[count % len(batches)]); count += 1\n"
        "    found[str(rows)] = count * rows / (time.perf_counter() - until + 1)\n"
        "import json; print(json.dumps(found))"
    )
    environment = ENVIRONMENT | {"PYTHONPATH": f"{SCRIPTS}:{HERE}"}
    distinct = min(8192, (256 << 20) // peer_models.values(model).nbytes)
    command = ["taskset", "-c", SERVER_CPU, sys.executable, "-c", code, str(file), model, str(distinct)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return {rows: round(rate, 1) for rows, rate in found.items()}


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Ours over the best of the targets, at the headline's connections: gRPC against gRPC, else against the best in any form."""
    at = [row for row in rows if row["connections"] == HEADLINE]
    found = {}
    for row in at:
        grpc = row["form"] == "gRPC"
        others = [
            other
            for other in at
            if other["model"] == row["model"] and PEERS[other["server"]].target and (other["form"] == "gRPC") == grpc
        ]
        if row["server"] != "penstock" or not others:
            continue
        best = max(others, key=lambda other: float(other["requests_per_s"]))
        name = f"{row['model']}, {row['form']}, times {best['server']} ({best['form']})"
        found[name] = round(row["requests_per_s"] / best["requests_per_s"], 1)
    return found


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of Markdown tables, a model each."""
    counts = sorted({row["connections"] for row in result["rows"]})
    for model in dict.fromkeys(row["model"] for row in result["rows"]):
        yield f"**{peer_models.MODELS[model].title}** (raw session, rows/s by batch: {_shown(result['floor'][model])})"
        yield ""
        yield "| server | form | " + " | ".join(f"{count} conn." for count in counts) + " | CPU us | p50 ms | p99 ms |"
        yield "|---|---|" + "---|" * (len(counts) + 3)
        for server, form in dict.fromkeys((r["server"], r["form"]) for r in result["rows"] if r["model"] == model):
            by = {r["connections"]: r for r in result["rows"] if (r["server"], r["model"], r["form"]) == (server, model, form)}
            at = by.get(HEADLINE) or by[max(by)]
            rates = " | ".join(f"{by[count]['requests_per_s']:,.0f}" if count in by else "" for count in counts)
            yield f"| {server} | {form} | {rates} | {at['cpu_us']} | {at['p50_ms']} | {at['p99_ms']} |"
        yield ""
    if result["starts"]:
        yield "| server | s to its first answer | MiB resident after the load |"
        yield "|---|---|---|"
        for row in result["starts"]:
            yield f"| {row['server']} | {row['start_s']} | {row['resident_mib']:,.0f} |"
        yield ""
    for name, value in result["ratios"].items():
        yield f"- {name}: {value}"
    for name, reason in result["failures"].items():
        yield f"- not measured: {name}: {reason_shown(reason)}"


def _shown(floor: dict[str, float]) -> str:
    return ", ".join(f"{rows}: {rate:,.0f}" for rows, rate in floor.items())


if __name__ == "__main__":
    main()
