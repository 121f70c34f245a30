"""The whole path of a prediction with stored features, beside what Feast's SDK costs for the same row.

    python bench/pipeline.py [--rounds 3] [--seconds 4] [--entities 20000] [--json]

    wrk --id--> transformer --one pipelined read--> Redis (20 numbers and a string a row, written by Feast)
                     |------encoded tensors-------> predictor (32-64-64-1 MLP)

Transformer and predictor are two processes on one core; Redis and wrk share the other. CPU a request is what the kernel counted
for both processes. Beside them: `penstock serve`, the same bundle in one process over Feast's SQLite store. Feast: the CPU of
`get_online_features(...).to_dict()` alone, for the same values from the same Redis, by feature names and as pre-computed vectors.
By hand: the encoder and the model run on a batch that is already in memory.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from penstock.testing.servers import free_port

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_line import command_line, parsed, show
from pipeline_bundle import ENTITIES, one_process, raw_features, two_processes, url, write_bundle, write_script
from pipeline_feast import NUMERIC, SEGMENTS
from rig import ENVIRONMENT, SERVER_CPU, load, medians, processes, redis, require, resident_mib, wrk

HERE = Path(__file__).resolve().parent
TWO, RAW, ONE = "transformer + predictor, Redis", "transformer + predictor, raw features", "one process, SQLite"
# Connections, rows a request, and their form: JSON rows whose answer tells the data, a v2 binary tensor of ids, or one a feature.
LOADS = {
    TWO: ((64, 1, "rows"), (1, 1, "rows"), (16, 100, "rows"), (16, 100, "tensor")),
    RAW: ((16, 100, "raw"),),
    ONE: ((64, 1, "rows"),),
}
Load = tuple[str, int, int, str]
FEAST = {"live": "by feature names", "precomputed": "pre-computed vectors"}
# Resident memory that comes and goes between two looks at a process under load.
STEADY_MIB = 2.0


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--entities", type=int, default=ENTITIES, help="rows in the stores")
    given = parsed(parser)
    result = measure(given.rounds, given.seconds, given.entities)
    show(given, result, table)


def measure(rounds: int = 3, seconds: float = 4.0, entities: int = ENTITIES) -> dict[str, Any]:
    """Every load on both arrangements, memory before and after, Feast, and the hand-run batch; medians over the rounds."""
    require("bench/pipeline.py", "wrk", "redis-server")
    loads: dict[Load, list[dict[str, float]]] = {}
    memory: list[dict[str, float]] = []
    feast: dict[str, list[dict[str, float]]] = {way: [] for way in FEAST}
    by_hand: list[float] = []
    with tempfile.TemporaryDirectory() as folder, redis(Path(folder)) as redis_port:
        directory = Path(folder)
        write_bundle(directory / "bundle")
        write_bundle(directory / "raw-bundle", raw_features())
        with Feast(directory, redis_port, entities, directory / "sqlite") as feast_side:
            for _ in range(rounds):
                memory.append(one_round(TWO, directory, redis_port, entities, seconds, loads))
                one_round(RAW, directory, redis_port, entities, seconds, loads)
                one_round(ONE, directory, redis_port, entities, seconds, loads)
                for way, costs in feast_side.measure(seconds).items():
                    feast[way].append(costs)
                by_hand.append(hand_run(directory / "bundle", 100, seconds / 4))
    lines = [
        {"servers": servers, "connections": connections, "rows": rows, "form": form} | medians(found)
        for (servers, connections, rows, form), found in loads.items()
    ]
    feast_costs = {way: medians(costs, 1) for way, costs in feast.items()}
    hand_us = statistics.median(by_hand)
    return {
        "bench": "pipeline",
        "model": "20 numbers and 1 string stored, 32-64-64-1 MLP",
        "entities": entities,
        "rows": lines,
        "memory": medians(memory, 1),
        "feast_cpu_us_a_row": feast_costs,
        "by_hand_us_a_row_at_100": round(hand_us, 2),
        "ratios": ratios(lines, feast_costs, hand_us),
    }


def one_round(
    servers: str,
    directory: Path,
    redis_port: int,
    entities: int,
    seconds: float,
    loads: dict[Load, list[dict[str, float]]],
) -> dict[str, float]:
    """Start the servers, run their loads into `loads`; their resident memory: ready, after all loads, and after the first of
    them once more."""
    port, predictor_port = free_port(), free_port()
    if servers != ONE:
        bundle = "bundle" if servers == TWO else "raw-bundle"
        transformer, predictor = two_processes(directory, redis_port, (port, predictor_port), bundle)
        commands = [["-m", "penstock_transformer", *transformer], ["-m", "penstock_predictor", *predictor]]
    else:
        commands = [["-m", "penstock_cli", *one_process(directory, directory / "sqlite" / "online.db", port)]]
    with processes(commands, port, directory / "servers.log") as pids:
        memory = resident("ready", pids)
        for connections, rows, form in LOADS[servers]:
            script = write_script(directory, rows, entities, form)
            loads.setdefault((servers, connections, rows, form), []).append(load(url(port), pids, script, connections, seconds))
        memory |= resident("after", pids)
        connections, rows, form = LOADS[servers][0]
        memory["requests"] = float(wrk(url(port), write_script(directory, rows, entities, form), connections, seconds)[0])
        return memory | resident("later", pids)


def resident(moment: str, pids: Sequence[int]) -> dict[str, float]:
    return {f"{moment}_{place}": resident_mib(pid) for place, pid in enumerate(pids)}


def ratios(lines: list[dict[str, Any]], feast: dict[str, dict[str, float]], hand_us: float) -> dict[str, float]:
    """What the project promises: Feast's CPU a row in times of ours, and our time a row in times of encoder and model by hand."""
    at = {(line["servers"], line["connections"], line["rows"], line["form"]): line for line in lines}
    one, many = at[TWO, 64, 1, "rows"], at[TWO, 16, 100, "rows"]
    found = {}
    for way, name in FEAST.items():
        found[f"Feast's CPU for a row, {name}, times both processes' for a request"] = feast[way]["1"] / one["cpu_us"]
        found[f"the same, {name}, at 100 rows a request"] = feast[way]["100"] / (many["cpu_us"] / 100)
    for servers, form, name in (
        (TWO, "rows", "JSON with data"),
        (TWO, "tensor", "v2 binary"),
        (RAW, "raw", "v2 binary of raw features"),
    ):
        line = at[servers, 16, 100, form]
        found[f"100 rows, {name}: CPU a row, times encoder and model by hand"] = line["cpu_us"] / 100 / hand_us
        found[f"100 rows, {name}: rows/s, part of encoder and model by hand"] = line["requests_per_s"] * 100 * hand_us / 1e6
    return {name: round(value, 3 if value < 1 else 2) for name, value in found.items()}


def table(result: dict[str, Any]) -> Iterator[str]:
    """Markdown: the loads, Feast and the hand-run batch, the memory."""
    yield "| servers | connections | rows, form | requests/s | CPU us a request | transformer's | predictor's | p50 ms | p99 ms |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for line in result["rows"]:
        each = [f"{line['cpu_us_0']}", f"{line['cpu_us_1']}"] if "cpu_us_1" in line else ["", ""]
        yield (
            f"| {line['servers']} | {line['connections']} | {line['rows']}, {line['form']} | {line['requests_per_s']:,.0f} |"
            f" {line['cpu_us']} | {each[0]} | {each[1]} | {line['p50_ms']} | {line['p99_ms']} |"
        )
    yield ""
    yield "| beside it, without any server | CPU us a row, 1 row | 100 rows |"
    yield "|---|---|---|"
    for way, name in FEAST.items():
        costs = result["feast_cpu_us_a_row"][way]
        yield f"| Feast's get_online_features, {name} | {costs['1']} | {costs['100']} |"
    yield f"| encoder and model by hand | | {result['by_hand_us_a_row_at_100']} |"
    yield ""
    for name, value in result["ratios"].items():
        yield f"- {name}: {value}"
    yield ""
    yield from memory_table(result["memory"])


def memory_table(memory: dict[str, float]) -> Iterator[str]:
    """Resident memory at three moments, and whether it grew between the last two, when every kind of load had been seen."""
    yield "| resident memory, MiB | ready, no request yet | after all loads | after the first load once more |"
    yield "|---|---|---|---|"
    grown = []
    for place, name in enumerate(("transformer", "predictor")):
        ready, after, later = (memory[f"{moment}_{place}"] for moment in ("ready", "after", "later"))
        yield f"| {name} | {ready} | {after} | {later} |"
        if later - after > STEADY_MIB:
            grown.append(f"the {name}'s by {later - after:.1f} MiB")
    yield ""
    last = f"over the last {memory['requests']:,.0f} requests"
    yield f"Memory grew {last}: {' and '.join(grown)}." if grown else f"Memory did not grow {last} (within {STEADY_MIB:g} MiB)."


class Feast:
    """bench/pipeline_feast.py on the servers' core, both stores filled; it does nothing between two measurements."""

    def __init__(self, directory: Path, redis_port: int, entities: int, sqlite: Path) -> None:
        self._log = directory / "feast.log"
        command = [sys.executable, str(HERE / "pipeline_feast.py"), str(directory), str(redis_port), str(entities), str(sqlite)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", SERVER_CPU, *command],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=ENVIRONMENT,
            )  # fmt: skip
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def measure(self, seconds: float) -> dict[str, dict[str, float]]:
        """CPU us a row by way and number of rows."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, dict[str, float]]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"Feast's side failed:\n{self._log.read_text()[-2000:]}")
        found: dict[str, dict[str, float]] = json.loads(line)
        return found


def hand_run(directory: Path, rows: int, seconds: float) -> float:
    """CPU microseconds a row of encoder and model on one batch, nothing else, on the servers' core and one thread."""
    from penstock.bundle.reading import open_bundle
    from penstock.features.encoder import Encoder
    from penstock.features.values import column_of
    from penstock.onnx import SessionSettings, load

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(SERVER_CPU)})
    try:
        opened = open_bundle(directory)
        assert opened.features is not None
        encoder = Encoder(opened.read("encoder.onnx"), opened.features)
        session = load(opened.model_path, SessionSettings(threads=1))
        rng = np.random.default_rng(7)
        columns = {name: column_of(rng.normal(size=rows).tolist(), "float32", name) for name in NUMERIC}
        columns["segment"] = column_of([SEGMENTS[i % 12] for i in range(rows)], "string", "segment")
        session.run(encoder.encode(columns))
        # Its CPU, as for the servers: what else the machine does is no cost of the batch.
        count, began, used = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            session.run(encoder.encode(columns))
            count += 1
        return (time.process_time() - used) / count / rows * 1e6
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    main()
