"""REST, gRPC and Kafka at once, at a steady pace, and what came of it, answer by answer.

    load.py in a pod --REST--\\
    grpc_load.py here --gRPC--> transformers            end() --> Traffic(rest, grpc, kafka), each of Answers and failures
    kafka_load.py here --> Kafka --> worker --> Kafka --> a read_committed reader

Invariant: every request that was sent is either an answer or a failure of the result; of Kafka's none is counted twice.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bed import broker
from bed.flights import MODEL, RECORD, Flights
from bed.trouble import BedError
from bed.underway import load
from bed.variants import ACCURACY, Variant

from penstock.testing.committed import Seen, records

FOLDER = Path(__file__).parents[1]
GRPC_PER_SECOND, KAFKA_PER_SECOND = "10", "10"
ENDED_S = 90.0


class Answer(NamedTuple):
    """One answer: when it came (Unix time), which bundle or version it names, and its score."""

    at: float
    named: str
    score: float


@dataclass(frozen=True)
class Way:
    """What came of the requests of one way in. `lost` and `doubled` are Kafka's alone."""

    sent: int
    answers: Sequence[Answer]
    failures: Sequence[str]
    lost: Sequence[str] = ()
    doubled: Sequence[str] = ()
    statuses: dict[str, int] = field(default_factory=dict)

    def wrong(self, variants: Sequence[Variant], own: float) -> list[str]:
        """Answers that no variant gives, or another one than the answer names; `own`: what the example's own bundle answers."""
        scores = {name: variant.score_of(own) for variant in variants for name in (variant.label, variant.name)}
        found = Counter((answer.named, answer.score) for answer in self.answers)
        return [
            f"{count} times {score} by {named or 'nobody'}, who answers {scores.get(named)}"
            for (named, score), count in found.items()
            if named not in scores or abs(scores[named] - score) > ACCURACY
        ]


Traffic = dict[str, Way]
"""`rest`, `grpc` and `kafka`, as far as they were sent."""


@contextmanager
def traffic(flights: Flights, bootstrap: str | None) -> Iterator[Callable[[], Traffic]]:
    """Requests by every way in until what this gives is called; without a broker none over Kafka."""
    with ExitStack() as stack:
        end_rest = stack.enter_context(load(flights, f"/predict/{RECORD}"))
        host, port = stack.enter_context(flights.cluster.reach(flights.namespace, f"{MODEL}-transformer", 8081))
        end_grpc = stack.enter_context(_program("grpc_load.py", f"{host}:{port}", MODEL, RECORD, GRPC_PER_SECOND))
        end_kafka = None
        if bootstrap is not None:
            end_kafka = stack.enter_context(_program("kafka_load.py", bootstrap, broker.REQUESTS, RECORD, KAFKA_PER_SECOND))

        def end() -> Traffic:
            found = {"rest": _rest(end_rest()), "grpc": _grpc(end_grpc())}
            if end_kafka is not None and bootstrap is not None:
                found["kafka"] = _kafka(end_kafka(), bootstrap)
            return found

        yield end


@contextmanager
def _program(script: str, *arguments: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """One of the loads as a process of this machine; calling what this gives ends it and reads what it tells."""
    command = [sys.executable, str(FOLDER / script), *arguments]
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as running:
        ended: list[dict[str, Any]] = []

        def end() -> dict[str, Any]:
            if not ended:
                output, _ = running.communicate(timeout=ENDED_S)
                if running.returncode:
                    raise BedError(f"{script} ended with status {running.returncode}")
                ended.append(json.loads(output))
            return ended[0]

        try:
            yield end
        finally:
            if not ended:
                running.kill()


def _rest(told: dict[str, Any]) -> Way:
    failures = [*told["failures"], *(f"{count} times {text}" for text, count in told["refusals"].items())]
    return Way(sum(told["statuses"].values()) + len(told["failures"]), _answers(told), failures, statuses=told["statuses"])


def _grpc(told: dict[str, Any]) -> Way:
    return Way(told["sent"], _answers(told), told["failures"])


def _answers(told: dict[str, Any]) -> list[Answer]:
    return [Answer(at, named, float(score)) for at, named, score in told["answers"]]


def _kafka(told: dict[str, Any], bootstrap: str) -> Way:
    """What a read_committed reader finds, once every record has come to something or has had its time."""
    wanted = {f"kafka-{number}" for number in range(1, told["sent"] + 1)}
    deadline = time.monotonic() + ENDED_S
    while True:
        found = records(bootstrap, broker.PREDICTIONS, broker.DEAD_LETTERS, within_s=ENDED_S)
        ids = Counter(_header(seen, "ce_id") for seen in found)
        if wanted <= ids.keys() or time.monotonic() > deadline:
            break
        time.sleep(1.0)
    dead = [
        f"{_header(seen, 'ce_id')}: {_header(seen, 'penstock-message')}" for seen in found if seen.topic == broker.DEAD_LETTERS
    ]
    made = [seen for seen in found if seen.topic == broker.PREDICTIONS]
    return Way(
        told["sent"],
        sorted(_predicted(seen) for seen in made),
        [*told["failures"], *dead],
        lost=sorted(wanted - ids.keys()),
        doubled=sorted(name for name, count in ids.items() if count > 1),
    )


def _predicted(seen: Seen) -> Answer:
    scores = json.loads(seen.value or b"{}")["predictions"][0]["scores"]
    return Answer(seen.timestamp_ms / 1e3, _header(seen, "penstock-bundle"), round(list(scores.values())[-1], 6))


def _header(seen: Seen, name: str) -> str:
    return (seen.header(name) or b"").decode()
