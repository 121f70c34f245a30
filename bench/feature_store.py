"""CPU per row of the feature store's readers, beside Feast's get_online_features for the same rows.

    python bench/feature_store.py [--rounds 3] [--seconds 1] [--client redis-py] [--json]

20 numeric features and 1 string, batches of 1, 8 and 64 keys, SQLite and Redis (started here, on a port of the kernel's choice).
CPU is this process's own (user and system), so the servers' is not in it. `--client redis-py` times a redis-py asyncio pipeline
of the same HMGETs too: the measurement behind docs/decisions/0005-redis-connection.md.
"""

import asyncio
import logging
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command_line import command_line, parsed, show

from penstock.testing.servers import RedisServer
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import RowWrite, SetRead
from penstock_transformer.store.settings import StoreSettings

BATCHES = (1, 8, 64)
NUMBERS = [f"f{n}" for n in range(20)]
ENTITIES = 1000
# Longer rounds of one process's own CPU tell no more.
_MOST_S = 1.0
DEFINITIONS = """
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String
entity = Entity(name="item", join_keys=["item"], value_type=ValueType.INT64)
wide = FeatureView(
    name="wide", entities=[entity], source=FileSource(name="wide", path="wide.parquet", timestamp_field="event_timestamp"),
    schema=[*(Field(name=f"f{n}", dtype=Float64) for n in range(20)), Field(name="name", dtype=String)],
)
"""


def repository(folder: Path, online_store: str) -> Any:
    """A Feast repository in `folder`, applied; Feast's store."""
    from penstock_cli.features.apply import apply
    from penstock_cli.features.registry import open_feast

    folder.mkdir(parents=True)
    (folder / "definitions.py").write_text(DEFINITIONS)
    settings = "project: bench\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
    (folder / "feature_store.yaml").write_text(f"{settings}online_store: {online_store}\n")
    apply(folder)
    return open_feast(folder)


@dataclass(frozen=True)
class Budget:
    """How often and how long each figure is measured."""

    rounds: int
    seconds: float


async def cpu_us_a_row(read: Callable[[], Awaitable[Any]], rows: int, budget: Budget) -> float:
    """Median over rounds of this process's CPU time per row, in microseconds."""
    await read()
    found = []
    for _ in range(budget.rounds):
        calls, began, wall = 0, time.process_time(), time.monotonic()
        while time.monotonic() - wall < budget.seconds:
            await read()
            calls += 1
        found.append((time.process_time() - began) / (calls * rows) * 1e6)
    return statistics.median(found)


async def readers(url: str, layout: Any, feast: Any, budget: Budget, client: str | None) -> dict[str, dict[int, float]]:
    """CPU a row by reader and batch size."""
    features = (*NUMBERS, "name")
    store = open_store(url, layout, StoreSettings(timeout_s=60))
    await store.start()
    rows = [
        RowWrite("wide", (n,), {name: n * 0.5 + place for place, name in enumerate(NUMBERS)} | {"name": f"item {n}"}, 1.7e9)
        for n in range(ENTITIES)
    ]
    await store.write(rows)
    found: dict[str, dict[int, float]] = {"penstock": {}, "feast": {}}
    for batch in BATCHES:
        keys = [(n * 7 % ENTITIES,) for n in range(batch)]
        entity_rows = [{"item": key} for (key,) in keys]

        async def ours(keys: Any = keys) -> Any:
            return await store.read([SetRead("wide", keys, features)])

        async def theirs(entity_rows: Any = entity_rows) -> Any:
            return feast.get_online_features([f"wide:{name}" for name in features], entity_rows)

        found["penstock"][batch] = await cpu_us_a_row(ours, batch, budget)
        found["feast"][batch] = await cpu_us_a_row(theirs, batch, budget)
        if client and url.startswith("redis"):
            found.setdefault("redis-py", {})[batch] = await redis_py(url, layout, keys, budget)
    await store.close()
    return found


async def redis_py(url: str, layout: Any, keys: list[tuple[int]], budget: Budget) -> float:
    """The same HMGETs through redis-py's asyncio client: fetching only, nothing is decoded."""
    from redis import asyncio as redis

    from penstock_transformer.store.redis_commands import field, time_field
    from penstock_transformer.store.view import Views

    view = Views(layout)["wide"]
    fields = [*(field(view, name) for name in (*NUMBERS, "name")), time_field(view)]
    hashes = [key + b"bench" for key in view.codec.encode(keys)]
    client = redis.Redis.from_url(url)

    async def read() -> Any:
        async with client.pipeline(transaction=False) as pipe:
            for key in hashes:
                pipe.execute_command("HMGET", key, *fields)
            return await pipe.execute()

    try:
        return await cpu_us_a_row(read, len(keys), budget)
    finally:
        await client.aclose()


def main() -> None:
    parser = command_line(__doc__, seconds=1.0, seconds_help="how long each round of each figure runs")
    parser.add_argument("--client", choices=["redis-py"], help="time this client library too")
    given = parsed(parser)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    result = measure(given.rounds, given.seconds, given.client)
    show(given, result, table)


def measure(rounds: int = 3, seconds: float = 1.0, client: str | None = None) -> dict[str, Any]:
    """CPU us a row by store, reader and batch size; medians over the rounds."""
    if shutil.which("redis-server") is None:
        sys.exit("bench/feature_store.py needs redis-server (Debian: apt-get install redis-server)")
    import uvloop

    from penstock_cli.features.registry import layout_of

    budget = Budget(rounds, min(seconds, _MOST_S))
    rows = []
    with tempfile.TemporaryDirectory() as directory, RedisServer() as server:
        folder = Path(directory)
        stores = {
            "SQLite": (f"sqlite:///{folder}/SQLite/online.db", "{type: sqlite, path: online.db}"),
            "Redis": (server.url(), f'{{type: redis, connection_string: "{server.host}:{server.port}"}}'),
        }
        for kind, (url, lines) in stores.items():
            feast = repository(folder / kind, lines)
            with uvloop_runner(uvloop) as runner:
                found = runner.run(readers(url, layout_of(feast, ["wide"]), feast, budget, client))
            for reader, figures in found.items():
                costs = {str(batch): round(cost, 1) for batch, cost in figures.items()}
                rows.append({"store": kind, "reader": reader, "cpu_us_a_row": costs})
    return {"bench": "feature_store", "rows": rows, "ratios": ratios(rows)}


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Feast's CPU a row in times of ours."""
    cost = {(row["store"], row["reader"]): row["cpu_us_a_row"] for row in rows}
    return {
        f"{store}, Feast's CPU times ours, batch of {batch}": round(theirs / cost[store, "penstock"][batch], 1)
        for (store, reader), costs in cost.items()
        if reader == "feast"
        for batch, theirs in costs.items()
    }


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| CPU us a row | " + " | ".join(f"batch of {batch}" for batch in BATCHES) + " |"
    yield "|---" * (len(BATCHES) + 1) + "|"
    for row in result["rows"]:
        cells = " | ".join(f"{row['cpu_us_a_row'][str(batch)]}" for batch in BATCHES)
        yield f"| {row['store']}, {row['reader']} | {cells} |"
    yield ""
    for name, value in result["ratios"].items():
        yield f"- {name}: {value}"


def uvloop_runner(uvloop: Any) -> asyncio.Runner:
    """The loop that the servers run on."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


if __name__ == "__main__":
    main()
