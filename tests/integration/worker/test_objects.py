"""The claim check over a real Kafka: inputs and answers that lie in an object store, and references that are none of ours."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

from penstock.testing.committed import Seen
from penstock.testing.waiting import until
from penstock_transformer.predictions.object_names import Kind
from penstock_transformer.predictions.objects import StoredObjects, open_objects

WAIT_S = 60.0


def test_inputs_and_answers_by_reference(bench: Any, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/objects"

    async def put() -> str:
        return await opened().put("id-0", Kind.INPUT, json.dumps({"rows": [{"a": 1.0}] * 3}).encode())

    def opened() -> StoredObjects:
        return open_objects(address, most_bytes=1 << 20, timeout_s=10.0)

    async def started() -> str:
        await opened().start()
        return await put()

    reference = asyncio.run(started())
    secret = tmp_path / "secret"
    secret.write_text('{"rows": [{"a": 1}]}')
    gone = reference.replace("/id-0/", "/id-9/")
    options = ("--objects", address, "--inline_bytes", "10")
    bench.send(1, body=b" ", headers=[])
    for text in (reference, f"file://{secret}", f"{address}/../secret", gone):
        bench.send(1, body=b"", headers=[("penstock-reference", text.encode())])
    # The answer lies in the store and nobody refers to it: it is made again, and the other is nobody's.
    assert bench.worker(*options, failpoints="object.written=kill").wait(60) == -signal.SIGKILL
    assert len(bench.outputs()) == 0
    worker = bench.worker(*options).wait_ready()

    def outputs() -> list[Seen]:
        seen: list[Seen] = bench.outputs()
        return seen if len(seen) >= 5 else []

    found = {record.header("ce_id"): record for record in until(outputs, WAIT_S, "five outputs")}
    answer = found[b"id-1"]
    assert (answer.topic, answer.value) == (bench.predictions, None)
    body = asyncio.run(opened().get((answer.header("penstock-reference") or b"").decode()))
    assert len(json.loads(body)["predictions"]) == 3
    for wrong, reason in ((b"id-2", b"invalid_input"), (b"id-3", b"invalid_input"), (b"id-4", b"not_found")):
        assert (found[wrong].topic, found[wrong].header("penstock-reason")) == (bench.letters, reason)
        assert found[wrong].header("penstock-field") == b"penstock-reference"
    assert worker.stop() == 0
