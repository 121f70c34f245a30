"""CPU by stage of one prediction with stored features: 64 connections, one row a request.

    python bench/stages.py [--rounds 3] [--seconds 4] [--entities 20000] [--json | --plot FILE]

Every round loads the programs with their stages timed (stages_server.py), and as they are, which shows what timing them changed
beyond the cost of a timed call, which is taken off. The transformer has a core to itself, so that nothing interrupts it; the
predictor is beside Redis and the load. What no stage holds is the event loop and what it does in the kernel: waiting for sockets
and reading them.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.testing.servers import free_port

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_line import command_line, parsed, show
from pipeline_bundle import ENTITIES, fill, two_processes, url, write_bundle, write_script
from rig import LOAD_CPU, SERVER_CPU, cpu_s, load, medians, processes, redis, require, wrk
from stages_server import A_BATCH, STAGES, WRITES

HERE = Path(__file__).resolve().parent
CONNECTIONS = 64
REST = "event loop, reads"
BATCH = "rows a batch"
CORES = SERVER_CPU, LOAD_CPU
_ANSWER_S = 10.0


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--entities", type=int, default=ENTITIES, help="rows in the store")
    parser.add_argument("--plot", type=Path, help="draw the plot too")
    given = parsed(parser)
    result = measure(given.rounds, given.seconds, given.entities)
    show(given, result, table)
    if given.plot:
        from stages_plot import plot

        plot(result, given.plot)


def measure(rounds: int = 3, seconds: float = 4.0, entities: int = ENTITIES) -> dict[str, Any]:
    """CPU us a request by program and stage, the rest included; medians over the rounds."""
    require("bench/stages.py", "wrk", "redis-server")
    totals: list[dict[str, float]] = []
    parts: dict[str, list[dict[str, float]]] = {program: [] for program in STAGES}
    with tempfile.TemporaryDirectory() as folder, redis(Path(folder)) as redis_port:
        directory = Path(folder)
        write_bundle(directory / "bundle")
        fill(redis_port, entities)
        script = write_script(directory, 1, entities)
        for _ in range(rounds):
            totals.append(plain_round(directory, redis_port, script, seconds))
            for program, found in timed_round(directory, redis_port, script, seconds).items():
                parts[program].append(found)
    untimed = medians(totals)
    rows = []
    for place, program in enumerate(STAGES):
        found = medians(parts[program])
        stages = {stage: found[stage] for stage in (*STAGES[program], WRITES, REST)}
        together, untimed_us = round(sum(stages.values()), 2), untimed[f"cpu_us_{place}"]
        rows.append(
            {"program": program, "cpu_us": together, "untimed_us": untimed_us, "rows_a_batch": found[BATCH], "stages": stages}
        )
    return {
        "bench": "stages",
        "connections": CONNECTIONS,
        "requests_per_s": untimed["requests_per_s"],
        "rows": rows,
        "ratios": {},
    }


def plain_round(directory: Path, redis_port: int, script: Path, seconds: float) -> dict[str, float]:
    """CPU a request of each process as it is."""
    ports = free_port(), free_port()
    options = two_processes(directory, redis_port, ports)
    commands = [["-m", f"penstock_{program}", *mine] for program, mine in zip(STAGES, options, strict=True)]
    with processes(commands, ports[0], directory / "servers.log", CORES) as pids:
        return load(url(ports[0]), pids, script, CONNECTIONS, seconds)


def timed_round(directory: Path, redis_port: int, script: Path, seconds: float) -> dict[str, dict[str, float]]:
    """CPU us a request by program and stage, and rows a batch."""
    with tempfile.TemporaryDirectory() as folder:
        ports = free_port(), free_port()
        options = two_processes(directory, redis_port, ports)
        fifos = {program: Path(folder) / program for program in STAGES}
        commands = [
            [str(HERE / "stages_server.py"), program, str(fifos[program]), *mine]
            for program, mine in zip(STAGES, options, strict=True)
        ]
        with processes(commands, ports[0], directory / "servers.log", CORES) as pids:
            if seconds > 1:
                wrk(url(ports[0]), script, CONNECTIONS, 1)
            before = [figures(fifo) | {"cpu_s": cpu_s(pid)} for fifo, pid in zip(fifos.values(), pids, strict=True)]
            requests = wrk(url(ports[0]), script, CONNECTIONS, seconds)[0]
            after = [figures(fifo) | {"cpu_s": cpu_s(pid)} for fifo, pid in zip(fifos.values(), pids, strict=True)]
    return {program: cpu_us(program, was, now, requests) for program, was, now in zip(STAGES, before, after, strict=True)}


def figures(fifo: Path) -> dict[str, Any]:
    """What a timed server has counted so far."""
    path = fifo.with_name(f"{fifo.name}-{time.monotonic_ns()}.json")
    # Opening it without a reader would wait for ever; a server that has ended is an error.
    pipe = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    with os.fdopen(pipe, "w") as asked:
        asked.write(f"{path}\n")
    until = time.monotonic() + _ANSWER_S
    while not path.exists():
        if time.monotonic() > until:
            sys.exit(f"the timed {fifo.name} did not tell its figures")
        time.sleep(0.002)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def cpu_us(program: str, before: dict[str, Any], after: dict[str, Any], requests: int) -> dict[str, float]:
    """Microseconds a request of each stage and of the rest between two moments, without what timing cost; and rows a batch."""
    found = {}
    rest = (after["cpu_s"] - before["cpu_s"]) * 1e9
    for stage, now in after["stages"].items():
        spent, calls, inner_calls = (now[key] - before["stages"][stage][key] for key in ("ns", "calls", "inner_calls"))
        rest -= spent + calls * after["outside_ns"] - inner_calls * after["outside_ns"]
        spent -= calls * after["inside_ns"] + inner_calls * after["outside_ns"]
        found[stage] = max(0.0, spent / requests / 1e3)
        if stage == A_BATCH[program]:
            found[BATCH] = requests / max(1, calls)
    # Below 0 where other work on the machine took the core while a stage's clock ran.
    return found | {REST: max(0.0, rest / requests / 1e3)}


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table: a column a program, stages in the order of a request's way."""
    programs = [row["program"] for row in result["rows"]]
    yield f"| CPU us a request | {' | '.join(programs)} |"
    yield "|---" * (len(programs) + 1) + "|"
    names = dict.fromkeys(stage for row in result["rows"] for stage in row["stages"] if stage not in (WRITES, REST))
    for name in [*names, WRITES, REST]:
        cells = [f"{row['stages'][name]:.2f}" if name in row["stages"] else "" for row in result["rows"]]
        yield f"| {name} | {' | '.join(cells)} |"
    together = " | ".join(f"{row['cpu_us']:.2f}" for row in result["rows"])
    yield f"| together | {together} |"
    untimed = " | ".join(f"{row['untimed_us']:.2f}" for row in result["rows"])
    yield f"| the same programs untimed | {untimed} |"
    yield ""
    batches = " and ".join(f"{row['rows_a_batch']:.0f} in the {row['program']}" for row in result["rows"])
    yield f"{result['connections']} connections, {result['requests_per_s']:,.0f} requests/s; rows a batch: {batches}."


if __name__ == "__main__":
    main()
