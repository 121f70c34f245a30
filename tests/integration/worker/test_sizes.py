"""Records over every limit of size, through a whole worker: each is answered, and holds nobody up."""

import json
from typing import Any

import confluent_kafka as ck
import pytest

from penstock_transformer.broker.settings import CLIENTS

pytestmark = pytest.mark.timeout(300)
MIB = 2**20
OVER = 400_000
# Of a record that is written, of what is fetched at once, of what is held, of a transaction; the topics take 10 MiB.
LIMITS = ("--kafka_record_mb", "0.3", "--kafka_fetch_mb", "0.3", "--held_mb", "0.1", "--transaction_mb", "0.05")
ROW = b'{"rows": [{"a": 1}]}'


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_over_every_limit_is_answered_and_holds_nobody_up(bench: Any, client: str) -> None:
    bench.send(5, partition=0)
    first = bench.sent
    produce(
        bench,
        # Larger than everything that this worker is allowed, and a good request all the same.
        (b"k", ROW + b" " * 3 * MIB, []),
        (b"k", b"no JSON" + b" " * 3 * MIB, []),
        (b"k", ROW, [("x", b"h" * OVER)]),
        (b"k", b"no JSON", [("x", b"h" * OVER)]),
        # A prediction has its request's key.
        (b"k" * OVER, ROW, []),
        (b"k", json.dumps({"rows": [{"a": number} for number in range(8000)]}).encode(), []),
    )
    bench.send(5, partition=0)
    worker = bench.worker(*LIMITS, client=client).wait_ready()
    seen = {record.header("ce_id"): record for record in bench.wait_all()}
    good, unread, headed, refused, keyed, grown = (seen[b"odd-%d" % number] for number in range(first, first + 6))
    assert [record.topic for record in (good, headed)] == [bench.predictions] * 2
    for letter, reason, omitted in (
        (unread, b"invalid_input", {"value": 3 * MIB + 7}),
        (refused, b"invalid_input", {"value": 7, "headers": OVER + 3}),
        (keyed, b"too_large", {"value": len(ROW), "key": OVER}),
        (grown, b"too_large", {}),
    ):
        assert (letter.topic, letter.header("penstock-reason")) == (bench.letters, reason)
        found = {name: letter.header(f"penstock-omitted-{name}-bytes") for name in ("value", "headers", "key")}
        assert {name: int(size) for name, size in found.items() if size is not None and name in omitted} == omitted
        assert omitted or not any(found.values())
    assert sum(record.topic == bench.predictions for record in seen.values()) == 12
    assert worker.stop() == 0


def produce(bench: Any, *requests: tuple[bytes, bytes, list[Any]]) -> None:
    """Requests of any size, by key, value and headers."""
    producer = ck.Producer({"bootstrap.servers": bench.kafka.bootstrap, "message.max.bytes": 8 * MIB})
    for key, value, headers in requests:
        named = [("ce_id", b"odd-%d" % bench.sent), *headers]
        producer.produce(bench.requests, value, key=key, partition=0, headers=named)
        bench.sent += 1
    assert producer.flush(30) == 0
