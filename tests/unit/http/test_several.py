"""Several transformers as one, and v1 over any of them."""

import asyncio
from typing import Any

import pytest

from penstock.batcher import Pressure
from penstock.dataplane import Context, FutureReply, InferRequest, InferResponse, ModelMetadata, Reply
from penstock.errors import InvalidInput, NotFound, NotReady, Overloaded, PenstockError
from penstock.protocol.limits import Limits
from penstock_transformer.http.instances import instances_handler
from penstock_transformer.http.routes import hot_routes
from penstock_transformer.http.several import Transformers
from penstock_transformer.requests import PredictRequest, PredictResponse


class Whole:
    """Makes a transformer of the ways in's fake: a data plane with a start and an end."""

    def __init__(self, fake: Any, name: str) -> None:
        self.fake = fake
        self.name = name
        self.steps: list[str] = []
        self.is_ready = True
        self.predict, self.models, self.plan, self.store = fake.predict, fake.models, fake.plan, fake.store

    def share(self, pressure: Pressure) -> None:
        self.pressure = pressure

    def refusal(self, model: str, version: str | None, context: Context) -> PenstockError | None:
        return Overloaded(f"{self.name} is full") if self.pressure.batchers else None

    async def start(self) -> None:
        self.steps.append("start")

    async def drain(self) -> None:
        self.steps.append("drain")

    async def close(self) -> None:
        self.steps.append("close")

    def submit(self, request: InferRequest, reply: Reply) -> None:
        reply.put(InferResponse(request.model, request.inputs, bundle=f"{self.name}@sha256:0"))

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        return self.is_ready

    async def metadata(self, model: str, version: str | None = None) -> ModelMetadata:
        return ModelMetadata(self.name, ("1",), "test", (), (), f"{self.name}@sha256:0")

    async def bundle_file(self, model: str, file: str) -> bytes:
        return f"{self.name}/{file}".encode()


class Answer:
    """A predict reply that keeps what came."""

    disconnected = False

    def __init__(self) -> None:
        self.response: PredictResponse | None = None
        self.failure: PenstockError | None = None

    def put(self, response: PredictResponse) -> None:
        self.response = response

    def error(self, error: PenstockError) -> None:
        self.failure = error


@pytest.fixture
def both(two_models: Any, transformer: Any) -> tuple[Transformers, Whole, Whole]:
    flights, delays = Whole(transformer, "flights"), Whole(two_models.transformer, "delays")
    return Transformers({"flights": flights, "delays": delays}), flights, delays


def test_pressure_is_shown_for_all_of_them_and_each_is_asked_for_itself(both: tuple[Transformers, Whole, Whole]) -> None:
    transformers, flights, _ = both
    assert transformers.refusal("flights", None, Context("r")) is None
    flights.pressure.batchers += 1
    assert transformers.pressure.batchers == 1
    assert str(transformers.refusal("delays", None, Context("r"))) == "delays is full"
    assert transformers.refusal("trains", None, Context("r")) is None


def test_a_request_goes_to_its_model(both: tuple[Transformers, Whole, Whole]) -> None:
    transformers, flights, delays = both
    assert list(transformers.models()) == ["flights", "delays"]
    answer = Answer()
    transformers.predict(PredictRequest("delays", Context("1"), rows=[{}]), answer)
    assert answer.response is not None
    assert (len(delays.fake.requests), len(flights.fake.requests)) == (1, 0)
    assert transformers.plan("flights") is flights.fake.row_plan
    assert transformers.store("flights") is None


def test_tensors_metadata_and_files_too(both: tuple[Transformers, Whole, Whole]) -> None:
    transformers, _, _ = both

    async def main() -> None:
        reply = FutureReply()
        transformers.submit(InferRequest("flights", [], Context("1")), reply)
        assert (await reply.future).bundle == "flights@sha256:0"
        assert (await transformers.metadata("delays")).name == "delays"
        assert await transformers.bundle_file("delays", "x") == b"delays/x"
        unknown = FutureReply()
        transformers.submit(InferRequest("nobody", [], Context("1")), unknown)
        with pytest.raises(NotFound, match="nobody"):
            await unknown.future
        with pytest.raises(NotFound, match="expected one of delays, flights"):
            await transformers.metadata("nobody")

    asyncio.run(main())


def test_an_unknown_model_is_answered_with_the_names(both: tuple[Transformers, Whole, Whole]) -> None:
    answer = Answer()
    both[0].predict(PredictRequest("nobody", Context("1"), rows=[]), answer)
    assert isinstance(answer.failure, NotFound)
    assert "delays, flights" in answer.failure.message


def test_ready_means_all_of_them(both: tuple[Transformers, Whole, Whole]) -> None:
    transformers, flights, _ = both
    assert transformers.ready()
    flights.is_ready = False
    assert not transformers.ready()
    assert transformers.ready("delays")
    with pytest.raises(NotFound):
        transformers.ready("nobody")


def test_they_start_and_end_together(both: tuple[Transformers, Whole, Whole]) -> None:
    transformers, flights, delays = both

    async def main() -> None:
        await transformers.start()
        await transformers.drain()
        await transformers.close()

    asyncio.run(main())
    assert flights.steps == delays.steps == ["start", "drain", "close"]


def send_instances(client: Any, body: bytes, model: str = "flights") -> Any:
    whole = Whole(client.transformer, "flights")
    client.routes = hot_routes(whole)
    return client.send("POST", f"/v1/models/{model}:predict", body)


def test_instances_are_rows_and_predictions_their_own(client: Any) -> None:
    exchange = send_instances(client, b'{"instances": [{"distance": 1}, {"distance": 2}]}')
    assert (exchange.status, exchange.answered) == (200, {"predictions": [{"value": 0}, {"value": 1}]})
    assert client.rows() == [{"distance": 1}, {"distance": 2}]


@pytest.mark.parametrize("body, words", [(b'{"instances": [{}, 3]}', "instances[1]: expected an object"), (b"{}", "instances: ")])
def test_instances_that_are_none_are_named(client: Any, body: bytes, words: str) -> None:
    exchange = send_instances(client, body)
    assert exchange.status == 400
    assert exchange.answered["error"].startswith(words)


def test_faults_of_rows_are_faults_of_instances(client: Any) -> None:
    client.transformer.error = InvalidInput("expected a number", field="rows[3].distance")
    exchange = send_instances(client, b'{"instances": [{}]}')
    assert (exchange.status, exchange.answered) == (400, {"error": "instances[3].distance: expected a number"})
    client.transformer.error = NotReady("starting")
    assert send_instances(client, b'{"instances": [{}]}').status == 503
    assert send_instances(client, b'{"instances": [{}]}', "nobody").status == 404


def test_a_compressed_body_is_refused(client: Any) -> None:
    handle = instances_handler(Whole(client.transformer, "flights"), Limits())
    exchange = client.post(b"{}", content_encoding="gzip")
    exchange.params = ("flights",)
    with pytest.raises(InvalidInput, match="Content-Encoding"):
        handle(exchange)


def test_a_bundle_without_features_takes_its_own_tensors(client: Any) -> None:
    client.transformer.row_plan = None
    exchange = send_instances(client, b'{"instances": []}')
    assert exchange.status == 400
    assert exchange.answered["error"].startswith("instances: ")


def test_forms_need_no_spec(client: Any) -> None:
    client.transformer.row_plan = None
    assert client.post("a,b\n1,x\n", "text/csv").status == 200
    assert client.rows() == [{"a": 1, "b": "x"}]
    assert client.post(b"\x89PNG", "image/png").status == 415
