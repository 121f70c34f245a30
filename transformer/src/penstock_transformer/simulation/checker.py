"""Whether a history kept its promises, judged from what went in and what a `read_committed` reader sees in the end: nothing else.

    each request    has exactly one prediction or one dead letter, in its own partition's number
    each partition  has its predictions in the order of its requests, and its dead letters too
    poison          is a dead letter `crashed`; what is invalid or grows too large is one for that reason; everything else is
    predicted

It knows neither the machine nor the broker's insides.
"""

from collections.abc import Mapping, Sequence

from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.simulation.predictor import GROWS, INVALID, LETTERS, POISON, PREDICTIONS

_REASONS = {POISON: "crashed", INVALID: "invalid_input", GROWS: "too_large"}


def faults(requests: Mapping[Partition, Sequence[Record]], outputs: Mapping[Partition, Sequence[OutRecord]]) -> list[str]:
    """What is wrong, in words; empty if nothing is."""
    seen: dict[str, list[str]] = {}
    found: list[str] = []
    for partition, records in outputs.items():
        last: int = -1
        for record in records:
            headers = dict(record.headers)
            position = headers["penstock-position"].decode()
            _, number, offset = position.rsplit("/", 2)
            if int(number) != partition.number:
                found.append(f"{position} is in {partition}")
            if int(offset) < last:
                found.append(f"{position} comes after offset {last} in {partition}")
            last = int(offset)
            outcome = headers["penstock-reason"].decode() if partition.topic == LETTERS else "predicted"
            seen.setdefault(position, []).append(outcome)
            if partition.topic not in (LETTERS, PREDICTIONS):
                found.append(f"{position} went to {partition.topic}")
    for asked in requests.values():
        for request in asked:
            got = seen.pop(request.position, [])
            expected = [_expected(request)]
            if got != expected:
                found.append(f"{request.position}: expected {expected}, got {got}")
    found += [f"{position} was never asked for" for position in seen]
    return found


def _expected(request: Record) -> str:
    kind = (request.value or b"").split(b" ")[0]
    return _REASONS.get(kind, "predicted")
