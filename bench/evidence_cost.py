"""What evidence costs of a prediction's CPU in the transformer: the same process with and without, window by window.

    python bench/evidence_cost.py [--rounds 3] [--seconds 4] [--entities 20000] [--json]

The servers and the load of bench/pipeline.py (64 connections or one, a row a request, 20 numbers and a string from Redis); the
bundle has a profile, so that outputs and features are counted too. The transformer counts evidence in every other window of a
quarter of a second (bench/evidence_server.py). A window without and its neighbour with it are a pair; told are the medians of the
pairs, and between what the median of the ratios lies with 95 % confidence, whatever their distribution (order statistics).
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from math import comb
from pathlib import Path
from typing import Any

import yaml

from penstock.testing.servers import free_port

sys.path.insert(0, str(Path(__file__).resolve().parent))
from command_line import command_line, parsed, show
from pipeline_bundle import ENTITIES, MODEL, fill, two_processes, url, write_bundle, write_script
from pipeline_feast import NUMERIC, SEGMENTS
from rig import processes, redis, require, wrk

HERE = Path(__file__).resolve().parent
LIMIT_PERCENT = 3.0
ALONE, BOTH = "one bundle", "two bundles, 50 % each"
LOADS = ((ALONE, 64), (BOTH, 64), (ALONE, 1))
_LEAST_REQUESTS = 10
_WARM_S = 1.0
Window = dict[str, float]


def main() -> None:
    parser = command_line(__doc__, seconds_help="a fifth of a load's time in a round")
    parser.add_argument("--entities", type=int, default=ENTITIES, help="rows in the store")
    given = parsed(parser)
    result = measure(given.rounds, given.seconds, given.entities)
    show(given, result, table)


def measure(rounds: int = 3, seconds: float = 4.0, entities: int = ENTITIES) -> dict[str, Any]:
    """Pairs of windows of every load, over all rounds."""
    require("bench/evidence_cost.py", "wrk", "redis-server")
    windows: dict[tuple[str, int], list[Window]] = {load: [] for load in LOADS}
    with tempfile.TemporaryDirectory() as folder, redis(Path(folder)) as redis_port:
        directory = Path(folder)
        digests = [write_bundle(directory / f"bundle-{n}", version=n, profile=profile()) for n in ("1", "2")]
        fill(redis_port, entities)
        script = write_script(directory, 1, entities)
        for _ in range(rounds):
            for bundles in (ALONE, BOTH):
                found = one_round(bundles, digests, directory, redis_port, script, 5 * seconds)
                for connections, mine in found.items():
                    windows[bundles, connections] += mine
    rows = [{"bundles": bundles, "connections": n} | told(pairs(windows[bundles, n])) for bundles, n in LOADS]
    return {"bench": "evidence_cost", "rows": rows, "ratios": {}}


def one_round(
    bundles: str, digests: Sequence[str], directory: Path, redis_port: int, script: Path, seconds: float
) -> dict[int, list[Window]]:
    """The windows of every load of an arrangement, by connections."""
    windows = directory / f"windows-{time.monotonic_ns()}"
    port, *behind = (free_port() for _ in range(1 + len(digests)))
    if bundles == ALONE:
        behind = behind[:1]
    both = [two_processes(directory, redis_port, (port, at), f"bundle-{n}") for n, at in enumerate(behind, 1)]
    options, predictors = both[0][0], [predictor for _, predictor in both]
    if bundles == BOTH:
        options = [*options, "--route_file", str(write_route(directory, digests, behind))]
    commands = [
        [str(HERE / "evidence_server.py"), str(windows), *options],
        *(["-m", "penstock_predictor", *p] for p in predictors),
    ]
    found: dict[int, list[Window]] = {}
    with processes(commands, port, directory / "servers.log"):
        for connections in [n for name, n in LOADS if name == bundles]:
            began = time.monotonic()
            wrk(url(port), script, connections, _WARM_S + seconds)
            lines = [json.loads(line) for line in windows.read_text().splitlines()]
            found[connections] = [one for one in lines if began + _WARM_S < one["from"] and one["to"] < began + _WARM_S + seconds]
    return found


def write_route(directory: Path, digests: Sequence[str], ports: Sequence[int]) -> Path:
    """A route file of both bundles, half of the requests each."""
    bundles = [{"digest": d, "predictor": f"http://127.0.0.1:{at}", "weight": 50} for d, at in zip(digests, ports, strict=True)]
    path = directory / f"route-{ports[0]}.yaml"
    path.write_text(yaml.safe_dump({"formatVersion": 1, "revision": 1, "model": MODEL, "bundles": bundles}))
    return path


def profile() -> bytes:
    """A profile.json of twenty bins for every number."""
    edges = [round(-2 + place / 5, 1) for place in range(21)]
    numbers = {"missing": 0.0, "edges": edges, "counts": [50] * 20}
    features: dict[str, Any] = {name: {"type": "float32", **numbers} for name in NUMERIC}
    features["segment"] = {"type": "string", "missing": 0.0, "values": dict.fromkeys(SEGMENTS, 80), "distinct": len(SEGMENTS)}
    document = {"formatVersion": 1, "rows": 1000, "features": features, "predictions": {"values": {"std": 1.0, **numbers}}}
    return json.dumps(document).encode()


def pairs(windows: Sequence[Window]) -> list[tuple[Window, Window]]:
    """Neighbours of which the first counted and the second did not, each window in one pair at most."""
    found, at = [], 0
    while at + 1 < len(windows):
        one, other = windows[at], windows[at + 1]
        near = other["from"] - one["to"] < 4.0 and min(one["requests"], other["requests"]) >= _LEAST_REQUESTS
        if near and one["counted"] != other["counted"]:
            found.append((one, other) if one["counted"] else (other, one))
            at += 2
        else:
            at += 1
    return found


def told(found: Sequence[tuple[Window, Window]]) -> dict[str, float]:
    """Medians over the pairs."""
    if not found:
        sys.exit("no window had enough requests")
    costs = [(cpu_us(with_it), cpu_us(without)) for with_it, without in found]
    ratios = sorted(100 * (with_it / without - 1) for with_it, without in costs)
    low, high = interval(ratios)
    return {
        "pairs": len(found),
        "requests_a_batch": round(statistics.median(w["requests"] / w["batches"] for pair in found for w in pair), 1),
        "without_us": round(statistics.median(without for _, without in costs), 2),
        "evidence_us": round(statistics.median(with_it - without for with_it, without in costs), 2),
        "percent": round(statistics.median(ratios), 2),
        "percent_low": round(low, 2),
        "percent_high": round(high, 2),
    }


def cpu_us(window: Window) -> float:
    return window["cpu_s"] / window["requests"] * 1e6


def interval(ordered: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Between which values of the sample its population's median lies: of the k-th least and greatest, the largest k for which
    the binomial chance that it does not is small enough."""
    size, k, beyond = len(ordered), 0, 0.0
    while k < size // 2 and beyond + comb(size, k) / 2**size <= (1 - confidence) / 2:
        beyond += comb(size, k) / 2**size
        k += 1
    return ordered[max(k - 1, 0)], ordered[min(size - k, size - 1)]


def table(result: dict[str, Any]) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| route | connections | requests a batch | CPU us a request without | more | % more | 95 % of the median | pairs |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in result["rows"]:
        yield (
            f"| {row['bundles']} | {row['connections']} | {row['requests_a_batch']} | {row['without_us']} |"
            f" {row['evidence_us']} | {row['percent']} | {row['percent_low']} to {row['percent_high']} | {row['pairs']} |"
        )
    yield ""
    yield f"Limit: {LIMIT_PERCENT:g} % of a request's CPU in the transformer. The kernel's CPU time of one process that counts"
    yield "evidence in every other quarter of a second. With two bundles every request's key is counted too, as in a rollout."


if __name__ == "__main__":
    main()
