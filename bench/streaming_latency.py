"""How long a record takes over Kafka, exactly once, at a tenth of the rate that the worker carries: p50 and p99.

    python bench/streaming_latency.py [--rounds 1] [--seconds 20] [--clients confluent,kafka-python] [--rate 0] [--json]

    producer, open loop --due at t--> requests -> worker, predictor -> transaction -> predictions --> read_committed reader: - t

Worker and predictor have the servers' core, broker, producer and reader the other. What the worker carries is measured first,
with records that wait already; `--rate` names the rate instead. A record's time is in two parts: until its prediction was made
(`ce_time`: produced, fetched, predicted), and from there until it is seen (its transaction, and the reader's fetch).
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_line import command_line, parsed, show
from rig import medians
from streaming_flow import quantile_ms, working

CLIENTS = ("confluent", "kafka-python")
SHARE = 0.1
LIMIT_MS = 50.0
DELIVERIES = ("exactly-once", "at-least-once")


def main() -> None:
    parser = command_line(__doc__, rounds=1, seconds=20.0)
    parser.add_argument("--clients", default=",".join(CLIENTS), help="names, comma-separated")
    parser.add_argument("--deliveries", default=",".join(DELIVERIES), help="names, comma-separated")
    parser.add_argument("--rate", type=float, default=0.0, help="records/s; 0: a tenth of what the worker carries")
    parser.add_argument("--records", type=int, default=20_000, help="of the measurement of what it carries")
    given = parsed(parser)
    result = measure(
        given.rounds, given.seconds, given.clients.split(","), given.deliveries.split(","), given.rate, given.records
    )
    show(given, result, table)


def measure(rounds: int, seconds: float, clients: list[str], deliveries: list[str], rate: float, records: int) -> dict[str, Any]:
    """Medians over the rounds, a row a client and delivery; at-least-once at the same rate as its client's exactly-once."""
    samples: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for client in clients:
            asked = rate
            for delivery in deliveries:
                found = once(client, delivery, seconds, asked, records)
                asked = found["rate"]
                samples.setdefault((client, delivery), []).append(found)
                print(f"{client}, {delivery}: {found}", file=sys.stderr, flush=True)
    rows = [{"client": client, "delivery": delivery} | medians(found) for (client, delivery), found in samples.items()]
    return {"bench": "streaming_latency", "rows": rows}


def once(client: str, delivery: str, seconds: float, rate: float, records: int) -> dict[str, float]:
    """One run: the rate, times in ms, CPU of the worker a record in us, records a transaction."""
    with working(client, "--delivery", delivery) as (worker, flow):
        carried = 0.0
        if not rate:
            carried = records / flow.flood(records)
            rate = carried * SHARE
        cpu_s, transactions = worker.cpu_s(), worker.counted("transactions_total")
        found, sent = flow.paced(rate, seconds)
        cpu_s, transactions = worker.cpu_s() - cpu_s, worker.counted("transactions_total") - transactions
    whole = [one.seen - one.due for one in found]
    return {
        "carried": carried,
        "rate": rate,
        "p50_ms": quantile_ms(whole, 0.5),
        "p99_ms": quantile_ms(whole, 0.99),
        "most_ms": quantile_ms(whole, 1.0),
        "made_p50_ms": quantile_ms([one.made - one.due for one in found], 0.5),
        "made_p99_ms": quantile_ms([one.made - one.due for one in found], 0.99),
        "seen_p50_ms": quantile_ms([one.seen - one.made for one in found], 0.5),
        "seen_p99_ms": quantile_ms([one.seen - one.made for one in found], 0.99),
        "cpu_us": cpu_s / sent * 1e6,
        "a_transaction": sent / max(transactions, 1),
    }


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield f"Asked: p99 under {LIMIT_MS:g} ms, exactly once, at a tenth of what the worker carries. Times in ms, p50 / p99; CPU of"
    yield "the worker's process a record; records a transaction."
    yield ""
    yield "| client, delivery | records/s | due to seen | longest | due to made | made to seen | a transaction | CPU us |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in result["rows"]:
        yield (
            f"| {row['client']}, {row['delivery']} | {row['rate']:,.0f} | {row['p50_ms']} / {row['p99_ms']} | {row['most_ms']} "
            f"| {row['made_p50_ms']} / {row['made_p99_ms']} | {row['seen_p50_ms']} / {row['seen_p99_ms']} "
            f"| {row['a_transaction']:.1f} | {row['cpu_us']:.0f} |"
        )


if __name__ == "__main__":
    main()
