"""What the worker holds in memory while a million records go through it: flat, or not.

    python bench/streaming_memory.py [--records 1000000] [--clients confluent,kafka-python] [--json]

Resident memory, by the kernel, of worker and predictor, noted each hundredth of the way. `settled` is the most between the first
tenth and the second, `end` the most of the last tenth: a single moment would be chance.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_line import command_line, parsed, show
from rig import resident_mib
from streaming_flow import working
from streaming_latency import CLIENTS

MARGIN = 1.05
Point = tuple[int, float, float]


def main() -> None:
    parser = command_line(
        __doc__,
        rounds=1,
        seconds=0.0,
        rounds_help="ignored: one course a client",
        seconds_help="ignored: it runs until its records are through",
    )
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--clients", default=",".join(CLIENTS), help="names, comma-separated")
    given = parsed(parser)
    result = measure(given.records, given.clients.split(","))
    show(given, result, table)


def measure(records: int, clients: list[str]) -> dict[str, Any]:
    """A course a client: (records, MiB of the worker, MiB of its predictor) at each hundredth."""
    return {"bench": "streaming_memory", "rows": [once(client, records) for client in clients]}


def once(client: str, records: int) -> dict[str, Any]:
    """One client's course, and what it says."""
    with working(client) as (worker, flow):
        course: list[Point] = [(0, worker.mib(), resident_mib(worker.predictor))]

        def note(seen: int) -> None:
            if seen - course[-1][0] >= records // 100 or seen == records:
                course.append((seen, worker.mib(), resident_mib(worker.predictor)))
                print(f"{client}: {course[-1]}", file=sys.stderr, flush=True)

        seconds = flow.flood(records, note)
    return {"client": client, "records": records, "seconds": round(seconds, 1), "course": course} | figures(course)


def figures(course: list[Point]) -> dict[str, float]:
    """MiB at the beginning, settled and at the end, of the worker and of its predictor."""
    total = course[-1][0]
    settled = [point for point in course if total / 10 <= point[0] <= total / 5] or course[:1]
    ended = [point for point in course if point[0] >= total * 0.9]
    found = {"begin_mib": course[0][1]}
    for name, place in (("", 1), ("predictor_", 2)):
        found[f"{name}settled_mib"] = max(point[place] for point in settled)
        found[f"{name}end_mib"] = max(point[place] for point in ended)
    return {name: round(value, 1) for name, value in found.items()}


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "Resident memory of the worker, in MiB: at the first record, the most between a tenth and a fifth of the way, the most"
    yield f"of the last tenth. Flat means no more than {MARGIN - 1:.0%} over that after a tenth."
    yield ""
    yield "| client | records | at first | after a tenth | at the end | grown by | predictor beside it | took, s |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in result["rows"]:
        growth = row["end_mib"] / row["settled_mib"]
        yield (
            f"| {row['client']} | {row['records']:,} | {row['begin_mib']:.0f} | {row['settled_mib']:.1f} | {row['end_mib']:.1f} "
            f"| {growth - 1:+.1%}: {'flat' if growth <= MARGIN else 'not flat'} "
            f"| {row['predictor_settled_mib']:.1f}, at the end {row['predictor_end_mib']:.1f} | {row['seconds']:.0f} |"
        )


if __name__ == "__main__":
    main()
