"""Cancelled wherever it is on its way over Kafka: what who cancelled was told stays true, whatever comes after.

in the database -> relay -> requests -> worker, predictor -> predictions -> sink -> its result
 1 not published           2 published   3 in the worker                            4 ended
"""

import signal
from pathlib import Path
from typing import Any

import pytest
import requests

from penstock.dataplane import TensorMetadata
from penstock.testing.bundles import write_bundle
from penstock.testing.committed import ids, records
from penstock.testing.models import mlp
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until
from penstock_transformer.predictions.resource import State

FEATURES = """\
formatVersion: 1
features:
- {name: a, from: request, type: float32, missing: reject, encode: passthrough}
tensors: {x: [a]}
"""
ROWS = b'{"rows": [{"a": 0.5}]}'


def counted(process: ServerProcess, metric: str) -> float:
    """The line of a program's metrics that begins so."""
    text = requests.get(f"{process.url}/metrics", timeout=30).text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(metric))


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_what_is_cancelled_stays_so_and_what_has_ended_too(place: Any, client: str, tmp_path: Path) -> None:
    options = ("--kafka_client", client)
    names = ("--model_name", place.model, "--drain_delay_s", "0")
    inputs, outputs = (TensorMetadata("x", "FP32", (-1, 1)),), (TensorMetadata("y", "FP32", (-1, 1)),)
    write_bundle(tmp_path / "bundle", mlp((1, 4, 1)), FEATURES, inputs=inputs, outputs=outputs)

    [unpublished] = place.submit(1, ROWS)
    assert place.cancel(unpublished) is State.CANCELED

    place.relay(*options)
    [published] = place.submit(1, ROWS)
    until(lambda: ids(place.requests()) == {published: 1}, 60, "the one that was not cancelled is published")
    assert place.cancel(published) is State.CANCELED

    sink = place.sink(*options).wait_ready()
    told = 'penstock_sink_records_total{outcome="repeated"}'
    with ServerProcess("penstock_predictor", *names, "--model_dir", str(tmp_path / "bundle"), "--profile_s", "0") as predictor:
        given = ("--model_name", place.model, "--predictor_host", f"127.0.0.1:{predictor.port}")
        worker = place.start("worker", *given, "--kafka_replication", "1", "--kafka_min_insync", "1", *options).wait_ready()
        until(lambda: counted(sink, told) == 1, 60, "its result comes all the same")
        assert place.predictions([published])[published].state is State.CANCELED

        predictor.signal(signal.SIGSTOP)
        [working] = place.submit(1, ROWS)
        try:
            until(lambda: counted(worker, "penstock_worker_predicting_records{") == 1, 60, "it is in the worker")
            assert place.cancel(working) is State.CANCELED
        finally:
            predictor.signal(signal.SIGCONT)
        until(lambda: counted(sink, told) == 2, 60, "its result comes too")

        [answered] = place.submit(1, ROWS)
        assert place.wait_ended([answered])[answered].state is State.SUCCEEDED
        assert place.cancel(answered) is State.SUCCEEDED

    kept = place.predictions(place.submitted)
    assert {one: kept[one].state for one in (unpublished, published, working)} == dict.fromkeys(
        (unpublished, published, working), State.CANCELED
    )
    assert [kept[one].result for one in (unpublished, published, working)] == [None] * 3
    assert (kept[answered].state, kept[answered].result is not None) == (State.SUCCEEDED, True)
    # Each that was published was answered once, as an independent reader sees it.
    once = dict.fromkeys((published, working, answered), 1)
    assert ids(place.requests()) == ids(records(place.kafka.bootstrap, f"{place.model}.predictions")) == once
    assert records(place.kafka.bootstrap, f"{place.model}.dead-letters") == []
