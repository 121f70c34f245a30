"""Both Python clients against the real server: every verb, and its errors as the server's own."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from penstock.client import AsyncClient, Client, Prediction, RetryPolicy
from penstock.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound, UpstreamUnavailable, WrongBundle
from penstock.testing.server import ServerProcess
from penstock.testing.servers import free_port

Ask = Callable[..., Any]
ROWS = [{"distance": 500, "carrier": "UA"}, {"distance": 2}]


@pytest.fixture(params=["ordinary", "asyncio"])
def ask(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[Ask]:
    """`ask("verb", …)` of either client."""
    if request.param == "ordinary":
        with Client(server.url) as client:
            yield lambda verb, *given, **named: getattr(client, verb)(*given, **named)
        return
    with asyncio.Runner() as runner:
        client = AsyncClient(server.url)

        async def use(verb: str, *given: Any, **named: Any) -> Any:
            found = getattr(client, verb)(*given, **named)
            return [item async for item in found] if inspect.isasyncgen(found) else await found

        yield lambda *given, **named: runner.run(use(*given, **named))
        runner.run(client.close())


def test_rows(ask: Ask) -> None:
    found = ask("predict", "flights", ROWS, request_id="my-id", priority=1, route_key="k", timeout_s=10)
    assert (found.model, found.request_id, len(found.predictions)) == ("flights", "my-id", 2)
    assert found.bundle.startswith("flights@sha256:")
    first, second = found.predictions
    assert (first.label, first.bundle, first.data["carrier"]) == ("late", found.bundle, "UA")
    assert sum(first.scores.values()) == pytest.approx(1)
    assert "carrier" in second.defaulted
    assert ask("predict", "flights", ROWS, data=False, expect_bundle=found.bundle).predictions[0].data is None
    csv = ask("predict_body", "flights", b"distance,carrier\n500,UA\n", "text/csv")
    assert csv.predictions[0].scores == first.scores


def test_many_rows(ask: Ask) -> None:
    rows = ({"distance": at} for at in range(23))
    found = list(ask("predict_many", "flights", rows, rows_per_request=5, data=True))
    assert [prediction.data["distance"] for prediction in found] == list(range(23))


def test_many_rows_with_a_bad_one_between(ask: Ask) -> None:
    rows = [{"distance": 1}] * 12 + [{"distance": "far"}] + [{"distance": 1}] * 12
    found = list(ask("predict_many", "flights", rows, rows_per_request=5))
    assert [isinstance(one, Prediction) for one in found] == [True] * 12 + [False] + [True] * 12
    refused = found[12]
    assert (refused.row, type(refused.error)) == (12, InvalidInput)
    assert "far" in refused.error.message
    assert {one.bundle for one in found if isinstance(one, Prediction)} == {ask("predict", "flights", ROWS).bundle}


def test_many_rows_for_nobody(ask: Ask) -> None:
    with pytest.raises(NotFound):
        list(ask("predict_many", "nobody", [{"distance": 1}]))


def test_records(ask: Ask) -> None:
    made = ask("create_record", {"distance": 1.5, "carrier": "é"}, model="flights")
    assert ask("record", made.id, model="flights") == made
    found = ask("predict_record", made.id, model="flights")
    assert (found.record["carrier"], found.predictions[0].data["distance"]) == ("é", 1.5)
    later = made.event_time + timedelta(minutes=1)
    put = ask("put_record", made.id, {"distance": 2}, event_time=later, model="flights")
    assert (put.event_time, put.values["carrier"]) == (later, None)
    with pytest.raises(Conflict):
        ask("put_record", made.id, {}, event_time=datetime(2020, 1, 1, tzinfo=UTC), model="flights")
    report = ask("import_records", b"flight_id,distance\na/1,1\nb,far\nc,3\n", model="flights")
    assert (report.written, report.refused, report.rejected[0]["field"]) == (2, 1, "rows[1].distance")
    with pytest.raises(InvalidInput, match="header"):
        ask("import_records", b"nothing\n1\n", model="flights")
    seen, cursor = set(), None
    while True:
        page = ask("records", limit=2, cursor=cursor, model="flights")
        seen |= {record.id for record in page.records}
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == {made.id, "a/1", "c"}
    for id in seen:
        ask("delete_record", id, model="flights")
    with pytest.raises(NotFound) as missing:
        ask("record", "a/1", model="flights")
    assert missing.value.field == "record_id"


@pytest.mark.parametrize("binary", [True, False])
def test_tensors(ask: Ask, binary: bool) -> None:
    inputs = {"distance": np.array([500, 2], np.float32), "carrier": ["UA", "AA"]}
    found = ask("infer", "flights", inputs, outputs=["late"], id="i", version="1", binary=binary)
    assert (found.outputs["late"].shape, found.outputs["late"].dtype, found.version) == ((2, 1), np.float32, "1")
    assert found.bundle.startswith("flights@sha256:")
    rows = ask("predict", "flights", [{"distance": 500, "carrier": "UA"}])
    assert found.outputs["late"][0, 0] == np.float32(rows.predictions[0].scores["late"])
    encoded = ask("infer", "flights", {"x": np.zeros((1, 6), np.float32)}, parameters={"encoded": True}, binary=binary)
    assert encoded.outputs["late"].tolist() == [[0.5]]


def test_metadata(ask: Ask) -> None:
    assert set(ask("models")) == {"flights", "pictures"}
    found = ask("metadata", "flights", version="1")
    assert {tensor.name: tensor.datatype for tensor in found.inputs}["carrier"] == "BYTES"
    assert found.bundle.startswith("flights@sha256:")


def test_errors_are_the_servers(ask: Ask) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask("predict", "flights", [{"carrier": "UA"}], request_id="r-7")
    error = refused.value
    assert (error.field, error.request_id) == ("rows[0].distance", "r-7")
    assert error.bundle.startswith("flights@sha256:")  # type: ignore[union-attr]
    with pytest.raises(InvalidInput) as refused:
        ask("infer", "flights", {"distance": np.zeros((1, 2), np.float32)})
    assert refused.value.field == "inputs[0].shape"
    with pytest.raises(NotFound):
        ask("metadata", "nobody")
    with pytest.raises(WrongBundle):
        ask("predict", "flights", ROWS, expect_bundle="sha256:" + "0" * 64)


def test_nobody_listens() -> None:
    with (
        Client(f"127.0.0.1:{free_port()}", retry=RetryPolicy(attempts=2, base_s=0.001)) as client,
        pytest.raises(UpstreamUnavailable, match=r"could not be reached: 127\.0\.0\.1:\d+: ") as away,
    ):
        client.models()
    assert away.value.request_id


def test_async_predictions_of_a_server_without_them(ask: Ask) -> None:
    with pytest.raises(NotFound):
        ask("prediction", "nobody")


def test_a_deadline_that_has_passed(ask: Ask) -> None:
    with pytest.raises(DeadlineExceeded):
        ask("predict", "flights", ROWS, timeout_s=0)
