"""The worker over a real broker: requests in, predictions out, seen by an independent `read_committed` reader."""

import json
import re
from typing import Any

import httpx


def test_each_request_has_its_prediction_once(bench: Any) -> None:
    bench.send(200)
    worker = bench.worker().wait_ready()
    bench.send(100)
    seen = bench.wait_all()
    assert {record.topic for record in seen} == {bench.predictions}
    first = next(record for record in seen if record.header("ce_id") == b"id-0")
    assert first.header("ce_type") == b"dev.penstock.prediction.made.v1"
    assert first.key == b"k0"
    assert "value" in json.loads(first.value)["predictions"][0]
    metrics = httpx.get(f"{worker.url}/metrics").text
    assert re.search(r'penstock_worker_predictions_total\{model="[^"]+"\} 300.0', metrics)
    assert worker.stop() == 0
