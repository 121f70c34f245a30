"""Records as foreign producers send them, through a whole worker: each is answered once, or the worker says why it cannot."""

import json
import resource
import time
from importlib.util import find_spec
from typing import Any

import confluent_kafka as ck
import pytest

from penstock.testing.raw_records import RawRecord, produce_raw
from penstock.testing.waiting import until
from penstock_transformer.broker.settings import CLIENTS

pytestmark = pytest.mark.timeout(300)
ROW = json.dumps({"rows": [{"a": 1}]}).encode()
POISON = 10_000


@pytest.mark.parametrize("client", CLIENTS)
def test_headers_of_any_name_and_value(bench: Any, client: str) -> None:
    bench.worker(client=client).wait_ready()
    odd = ((b"\xff\xfe", b"\xff"), (b"null", None), (b"", b"empty"), (b"a", b"1"), (b"a", b"2"), (b"traceparent", None))
    good = (b"ce_id", b"of-any-name")
    records = [
        RawRecord(ROW, b"k", (good, *odd)),
        RawRecord(b"no JSON", b"k", ((b"ce_id", b"refused"), *odd)),
        RawRecord(ROW, b"k", ((b"ce_id", b"\xff"),)),
        RawRecord(ROW, b"k", ((b"ce_id", None),)),
        RawRecord(ROW, b"k", ((b"ce_id", b"first"), (b"ce_id", b"last"))),
        RawRecord(ROW, b"k", ((b"content-type", b"\xff"),)),
    ]
    produce_raw(bench.kafka.bootstrap, bench.requests, 0, records)
    bench.sent = len(records)
    bench.send(5, partition=0)
    seen = {record.header("penstock-position"): record for record in bench.wait_all()}
    made = [seen[f"{bench.requests}/0/{offset}".encode()] for offset in range(len(records))]
    predictions, letters = bench.predictions, bench.letters
    assert [record.topic for record in made] == [predictions, letters, predictions, predictions, predictions, letters]
    assert [record.header("ce_id") for record in made][:2] == [b"of-any-name", b"refused"]
    # An id that cannot be used is as none; of one that is given twice the last counts.
    places = [f"{bench.requests}/0/{offset}".encode() for offset in (2, 3)]
    assert [record.header("ce_id") for record in made][2:5] == [*places, b"last"]
    kept = made[1].headers[: 1 + len(odd)]
    text = (("\\xff\\xfe", b"\xff"), ("null", b""), ("", b"empty"), ("a", b"1"), ("a", b"2"), ("traceparent", b""))
    assert kept == (("ce_id", b"refused"), *text)


@pytest.mark.parametrize("client", CLIENTS)
def test_an_id_that_is_there_twice_is_two_requests(bench: Any, client: str) -> None:
    """Each record is answered once, whoever else has its id: in one batch, over a restart, and in another partition."""
    worker = bench.worker("--transaction_records", "5", client=client).wait_ready()
    same = [("ce_id", b"same")]
    for _ in range(2):
        bench.send(3, partition=0, headers=same)
        bench.send(3, partition=1, headers=same)
        bench.wait_all()
        assert worker.stop() == 0
        worker = bench.worker(client=client).wait_ready()
    seen = bench.wait_all()
    assert [record.header("ce_id") for record in seen] == [b"same"] * 12


def test_a_codec_that_is_not_understood_stops_the_worker_and_is_named(bench: Any) -> None:
    if find_spec("lz4") is not None:
        pytest.skip("the package lz4 is here: kafka-python reads what it would stop at")
    worker = bench.worker(client="kafka-python").wait_ready()
    bench.send(20)
    bench.wait_all()
    producer = ck.Producer({"bootstrap.servers": bench.kafka.bootstrap, "compression.type": "lz4", "linger.ms": 50})
    for number in range(5):
        producer.produce(
            bench.requests, b'{"rows": [{"a": 1}]}' + b" " * 200, partition=1, headers=[("ce_id", b"lz4-%d" % number)]
        )
    assert producer.flush(30) == 0
    assert worker.wait(60) == 1
    reason = worker.wait_event("worker stops", 1)["reason"]
    assert f"{bench.requests}/1 from offset" in reason
    assert "lz4" in reason
    assert len(bench.outputs()) == bench.sent
    # Nothing was skipped: whoever understands it goes on there.
    bench.sent += 5
    bench.worker(client="confluent").wait_ready()
    assert {record.topic for record in bench.wait_all()} == {bench.predictions}


@pytest.mark.parametrize("client", [CLIENTS[0], pytest.param(CLIENTS[1], marks=pytest.mark.slow)])
def test_ten_thousand_poison_records_in_a_row(bench: Any, client: str) -> None:
    worker = bench.worker(client=client).wait_ready()
    bench.send(50)
    bench.wait_all()
    before = _resident_mib(worker)
    begun = time.monotonic()
    bench.send(POISON, body=b'{"rows": [{"a": "no number"}]}')
    bench.send(50)
    letters = until(lambda: _dead_letters(worker, POISON), 150, "the dead letters")
    took = time.monotonic() - begun
    seen = bench.wait_all()
    grown = _resident_mib(worker) - before
    print(f"{client}: {letters:.0f} dead letters in {took:.1f} s, {letters / took:.0f}/s; memory grew by {grown:.0f} MiB")
    assert [sum(record.topic == topic for record in seen) for topic in (bench.letters, bench.predictions)] == [POISON, 100]
    # What was fetched ahead, and no more: ten thousand letters with their requests would be twice as much.
    assert grown < 64
    bench.send(50)
    bench.wait_all()
    assert worker.stop() == 0


def _dead_letters(worker: Any, count: int) -> float:
    import httpx

    total = sum(
        float(line.split()[1])
        for line in httpx.get(f"{worker.url}/metrics", timeout=20).text.splitlines()
        if line.startswith("penstock_worker_dead_letters_total{")
    )
    return total if total >= count else 0.0


def _resident_mib(worker: Any) -> float:
    with open(f"/proc/{worker.pid}/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20
