"""What batches, transactions and latency cost each other over Kafka, and the worker's settings that decide it; drawn as a plot.

    python bench/streaming_trade.py [--seconds 5] [--rate 1000] [--client confluent] [--json]

    load        the rate grows, the settings stay: transactions take what came while the last one committed
    interval    --transaction_interval_ms at one rate: longer transactions, fewer of them
    most        --transaction_records, records waiting already: what a transaction's own cost does to throughput

Times run from the moment that a record was due until a `read_committed` reader has it (`streaming_flow`); CPU is that of the
worker's process. Worker and predictor share the servers' core.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_line import command_line, parsed, show
from streaming_flow import Flow, Working, quantile_ms, working

RATES = (50, 200, 500, 1000, 2000, 4000)
INTERVALS_MS = (0, 5, 10, 20, 50, 100, 200)
MOST = (1, 10, 50, 200, 500, 2000)
# Beyond this the worker does not keep up: the next rate would only wait longer.
HOPELESS_MS = 2000.0
SETTINGS = """\
- `--transaction_interval_ms` (5) is the least time between the begins of two transactions, unless one is full. Longer ones cost
  worker and broker less a record, and each record waits for up to so long.
- `--transaction_records` (2,000) and `--transaction_mb` (16) bound what one writes. Throughput lives by them: a transaction costs
  what it costs, however little it holds.
- `--poll_records` (1,000) is what one poll brings at most, `--max_batch_rows` (1,024) what is encoded and predicted at once. What
  came while the last transaction committed goes into the next, so batches grow with the load by themselves.
- `--delivery at-least-once` has no transactions: see the table above.
"""


def main() -> None:
    parser = command_line(
        __doc__, rounds=1, seconds=5.0, rounds_help="ignored: every point is measured once", seconds_help="of each point"
    )
    parser.add_argument("--rate", type=float, default=1000.0, help="records/s at which the interval is varied")
    parser.add_argument("--client", default="confluent")
    given = parsed(parser)
    result = measure(given.client, given.seconds, given.rate)
    show(given, result, table)


def measure(client: str, seconds: float, rate: float) -> dict[str, Any]:
    """The three courses, as rows of figures."""
    load: list[dict[str, float]] = []
    with working(client) as (worker, flow):
        for asked in RATES:
            load.append({"rate": asked} | _told(_paced(worker, flow, asked, seconds), "load", asked))
            if load[-1]["p99_ms"] > HOPELESS_MS:
                break
    interval: list[dict[str, float]] = []
    for interval_ms in INTERVALS_MS:
        with working(client, "--transaction_interval_ms", str(interval_ms)) as (worker, flow):
            found = _paced(worker, flow, rate, seconds)
            interval.append({"interval_ms": interval_ms} | _told(found, "interval", interval_ms))
    most: list[dict[str, float]] = []
    for records in MOST:
        with working(client, "--transaction_records", str(records)) as (worker, flow):
            most.append({"most": records} | _told(_flooded(worker, flow, max(500, min(30_000, 100 * records))), "most", records))
    rows = [*load, *interval, *most]
    return {
        "bench": "streaming_trade",
        "client": client,
        "rate": rate,
        "rows": rows,
        "load": load,
        "interval": interval,
        "most": most,
    }


def _told(found: dict[str, float], course: str, at: float) -> dict[str, float]:
    print(f"{course} {at:g}: {found}", file=sys.stderr, flush=True)
    return found


class _Meter:
    """What the worker did between two moments."""

    def __init__(self, worker: Working) -> None:
        self._worker = worker
        self._before = self._read()

    def _read(self) -> tuple[float, float, float]:
        return self._worker.cpu_s(), self._worker.counted("transactions_total"), self._worker.counted("commit_seconds_sum")

    def figures(self, records: int) -> dict[str, float]:
        """CPU us a record, records a transaction, ms of a transaction from its begin to its end."""
        cpu_s, transactions, commits_s = (now - then for now, then in zip(self._read(), self._before, strict=True))
        count = max(transactions, 1)
        return {
            "cpu_us": round(cpu_s / records * 1e6, 1),
            "a_transaction": round(records / count, 1),
            "commit_ms": round(commits_s / count * 1e3, 1),
        }


def _paced(worker: Working, flow: Flow, rate: float, seconds: float) -> dict[str, float]:
    meter = _Meter(worker)
    found, sent = flow.paced(rate, seconds)
    times_s = [one.seen - one.due for one in found]
    return {"p50_ms": quantile_ms(times_s, 0.5), "p99_ms": quantile_ms(times_s, 0.99)} | meter.figures(sent)


def _flooded(worker: Working, flow: Flow, records: int) -> dict[str, float]:
    meter = _Meter(worker)
    seconds = flow.flood(records)
    figures = meter.figures(records)
    return {"records_per_s": round(records / seconds), "per_core": round(1e6 / figures["cpu_us"])} | figures


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of Markdown tables."""
    yield f"The worker with {result['client']}, exactly once. Settings are the defaults but for the one that is named:"
    yield ""
    yield SETTINGS
    yield "| records/s that come | p50, p99 ms | records a transaction | its ms | CPU us a record |"
    yield "|---|---|---|---|---|"
    for row in result["load"]:
        yield f"| {row['rate']:,} | {row['p50_ms']}, {row['p99_ms']} | {_transaction(row)} |"
    yield ""
    yield f"| `--transaction_interval_ms` at {result['rate']:,.0f}/s | p50, p99 ms | records each | its ms | CPU us a record |"
    yield "|---|---|---|---|---|"
    for row in result["interval"]:
        yield f"| {row['interval_ms']} | {row['p50_ms']}, {row['p99_ms']} | {_transaction(row)} |"
    yield ""
    yield "| `--transaction_records`, records waiting | records/s | per core | records a transaction | its ms | CPU us a record |"
    yield "|---|---|---|---|---|---|"
    for row in result["most"]:
        yield f"| {row['most']:,} | {row['records_per_s']:,} | {row['per_core']:,} | {_transaction(row)} |"


def _transaction(row: dict[str, float]) -> str:
    return f"{row['a_transaction']:,} | {row['commit_ms']} | {row['cpu_us']:.0f}"


if __name__ == "__main__":
    main()
