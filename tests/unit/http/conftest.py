"""A transformer and an exchange without a network, for the ways in."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.errors import NotFound, PenstockError
from penstock.features.spec import Feature, FeatureSet, FeatureSpec, Missing, Record, StoreLayout, ViewLayout
from penstock.serving.status import error_response
from penstock_transformer.http.limits import WayInLimits
from penstock_transformer.http.routes import predict_routes
from penstock_transformer.plan import FetchPlan, plan_of
from penstock_transformer.requests import PredictReply, PredictRequest, PredictResponse
from penstock_transformer.store.port import FeatureStore

BUNDLE = "flights@sha256:" + "0" * 64


def spec(*, image: bool = False) -> FeatureSpec:
    """Two features of the request, one stored, and the flight's record; with an image feature if asked."""
    reject = Missing("reject")
    features = [
        Feature("distance", None, "distance", "float32", reject, ()),
        Feature("carrier", None, "carrier", "string", Missing("default", "??"), ()),
        Feature("stops", None, "stops", "int32", Missing("default", 0), ()),
        Feature("night", None, "night", "bool", Missing("default", False), ()),
        Feature("leaves", None, "leaves", "timestamp", Missing("keep"), ()),
        Feature("seats", "planes", "seats", "int64", Missing("default", 149), ()),
    ]
    if image:
        features.append(Feature("picture", None, "picture", "image", reject, ()))
    sets = {
        "flights": FeatureSet("flights", "flights", {"flight_id": "flight_id"}),
        "planes": FeatureSet("planes", "planes", {"tailnum": "tailnum"}),
    }
    views = {
        "flights": ViewLayout({"flight_id": "string"}, {"distance": "double", "carrier": "string", "tailnum": "string"}),
        "planes": ViewLayout({"tailnum": "string"}, {"seats": "int64"}),
    }
    store = StoreLayout("flights", 3, views)
    return FeatureSpec(tuple(features), {"x": ("distance",)}, sets, Record("flights", "flight_id"), store)


class FakeTransformer:
    """Answers every row with its number; remembers what it was asked."""

    def __init__(self, *, image: bool = False, models: Sequence[str] = ("flights",)) -> None:
        self.requests: list[PredictRequest] = []
        self.error: PenstockError | None = None
        self.prediction: dict[str, Any] = {}
        self.feature_store: FeatureStore | None = None
        self._models = models
        self.row_plan: FetchPlan | None = plan_of(spec(image=image))

    def predict(self, request: PredictRequest, reply: PredictReply) -> None:
        self.requests.append(request)
        if request.model not in self._models:
            reply.error(NotFound(f"no model {request.model!r}", field="model"))
            return
        if self.error is not None:
            reply.error(self.error)
            return
        rows = 1 if request.rows is None else len(request.rows)
        predictions = [{"value": row} | self.prediction for row in range(rows)]
        record = None if request.record_id is None else {"flight_id": request.record_id}
        reply.put(PredictResponse(request.model, BUNDLE, predictions, {}, record=record))

    def models(self) -> Sequence[str]:
        return self._models

    def plan(self, model: str) -> FetchPlan | None:
        if model not in self._models:
            raise NotFound(f"no model {model!r}", field="model")
        return self.row_plan

    def store(self, model: str) -> FeatureStore | None:
        self.plan(model)
        return self.feature_store


class FakeExchange:
    """A request and what was answered to it."""

    def __init__(self, path: bytes, body: bytes, headers: dict[bytes, bytes], query: bytes, params: tuple[str, ...]) -> None:
        self.path, self.body, self.headers, self.query, self.params = path, body, headers, query, params
        self.started = 0.0
        self.request_id = b""
        self.disconnected = False
        self.served: tuple[str, str] | None = None
        self.status = 0
        self.answered: Any = None
        self.done = asyncio.Event()

    def header(self, name: bytes) -> bytes | None:
        return self.headers.get(name)

    def served_by(self, model: str, bundle: str) -> None:
        self.served = (model, bundle)

    def answer(self, status: int, body: bytes, content_type: bytes = b"application/json", headers: bytes = b"") -> None:
        assert not self.status, "answered twice"
        self.status, self.answered = status, json.loads(body)
        self.done.set()

    def fail(self, error: PenstockError) -> None:
        status, body, _, _ = error_response(error, self.path)
        self.answer(status, body)


class Client:
    """Sends to the predict routes as the shell would."""

    def __init__(self, transformer: FakeTransformer, limits: WayInLimits | None = None) -> None:
        self.transformer = transformer
        self.routes = predict_routes(transformer, limits)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] = b"",
        content_type: str | None = None,
        query: str = "",
        **headers: str,
    ) -> FakeExchange:
        raw = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
        lines = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        if content_type is not None:
            lines[b"content-type"] = content_type.encode()
        found = self.routes.find(method.encode(), path.encode())
        assert found is not None, path
        exchange = FakeExchange(path.encode(), raw, lines, query.encode(), found[1])
        try:
            found[0](exchange)
        except PenstockError as error:
            exchange.fail(error)
        return exchange

    def post(self, body: Any, content_type: str | None = "application/json", **more: Any) -> FakeExchange:
        return self.send("POST", "/models/flights/predict", body, content_type, **more)

    def post_and_wait(self, body: Any, content_type: str) -> FakeExchange:
        """The same for a body that is parsed in a thread."""

        async def main() -> FakeExchange:
            exchange = self.post(body, content_type)
            async with asyncio.timeout(10):
                await exchange.done.wait()
            return exchange

        return asyncio.run(main())

    def rows(self) -> list[dict[str, Any]]:
        """The rows that reached the transformer with the last request."""
        return self.transformer.requests[-1].rows or []


@pytest.fixture
def transformer() -> FakeTransformer:
    return FakeTransformer()


@pytest.fixture
def client(transformer: FakeTransformer) -> Client:
    return Client(transformer)


@pytest.fixture
def image_client() -> Client:
    return Client(FakeTransformer(image=True))


@pytest.fixture
def small_client() -> Client:
    """With limits that a test can reach."""
    limits = WayInLimits(rows=3, image_bytes=100, parts=4, inline_bytes=10, parsing=1, parsing_bytes=1000)
    return Client(FakeTransformer(image=True), limits)


@pytest.fixture
def two_models() -> Client:
    return Client(FakeTransformer(models=("flights", "delays")))
