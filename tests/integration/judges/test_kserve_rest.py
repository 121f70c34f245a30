"""KServe's own REST client, unmodified, against predictor and transformer: v1, v2 in JSON, v2 binary."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import InferOutput, InferResponse, RequestedOutput

from penstock.testing.server import ServerProcess

T = TypeVar("T")
X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]], np.float32)


def ask(protocol: str, use: Callable[[InferenceRESTClient], Awaitable[T]]) -> T:
    async def main() -> T:
        async with InferenceRESTClient(RESTConfig(protocol=protocol, retries=0)) as client:
            return await use(client)

    return asyncio.run(main())


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str, *, binary: bool) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def outputs(answer: Any) -> dict[str, InferOutput]:
    assert isinstance(answer, InferResponse)
    return {output.name: output for output in answer.outputs}


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_health(predictor: ServerProcess, transformer: ServerProcess, protocol: str) -> None:
    for server, model in ((predictor, "mlp"), (transformer, "flights")):
        assert ask(protocol, lambda client: client.is_server_live(server.url))  # noqa: B023
        assert ask(protocol, lambda client: client.is_model_ready(server.url, model))  # noqa: B023
    if protocol == "v2":
        assert ask(protocol, lambda client: client.is_server_ready(predictor.url))
        assert not ask(protocol, lambda client: client.is_model_ready(predictor.url, "nobody"))


@pytest.mark.parametrize("binary", [False, True])
def test_infer(predictor: ServerProcess, binary: bool) -> None:
    request = InferRequest(
        "row_sum",
        [tensor("x", X, "FP32", binary=binary)],
        request_id="r-1",
        request_outputs=[RequestedOutput("y", {"binary_data": binary})],
    )
    answer = ask("v2", lambda client: client.infer(predictor.url, request, model_name="row_sum"))
    assert isinstance(answer, InferResponse)
    assert (answer.id, answer.model_name) == ("r-1", "row_sum")
    np.testing.assert_array_equal(outputs(answer)["y"].as_numpy().ravel(), X.sum(axis=1))


@pytest.mark.parametrize("binary", [False, True])
def test_strings_and_several_outputs(predictor: ServerProcess, binary: bool) -> None:
    words = np.array([["yes"], ["ü"]], object)
    request = InferRequest("labels", [tensor("word", words, "BYTES", binary=binary)])
    found = outputs(ask("v2", lambda client: client.infer(predictor.url, request, model_name="labels")))
    assert found["index"].as_numpy().ravel().tolist() == [3, -1]


def test_half_precision_goes_binary(predictor: ServerProcess) -> None:
    metadata = httpx.get(f"{predictor.url}/v2/models/half").json()
    name, shape = metadata["inputs"][0]["name"], metadata["inputs"][0]["shape"]
    x = np.ones([2 if size < 0 else size for size in shape], np.float16)
    request = InferRequest("half", [tensor(name, x, "FP16", binary=True)], parameters={"binary_data_output": True})
    answer = ask("v2", lambda client: client.infer(predictor.url, request, model_name="half"))
    assert outputs(answer)[metadata["outputs"][0]["name"]].as_numpy().dtype == np.float16


@pytest.mark.parametrize("binary", [False, True])
def test_raw_features_to_a_transformer(transformer: ServerProcess, binary: bool) -> None:
    inputs = [
        tensor("distance", np.array([500.0, 2.0], np.float32), "FP32", binary=binary),
        tensor("carrier", np.array(["UA", "AA"], object), "BYTES", binary=binary),
    ]
    response_headers: dict[str, str] = {}
    request = InferRequest("flights", inputs)
    answer = ask(
        "v2",
        lambda client: client.infer(transformer.url, request, model_name="flights", response_headers=response_headers),
    )
    assert outputs(answer)["late"].as_numpy().shape == (2, 1)
    assert response_headers["penstock-bundle"].startswith("flights@sha256:")


def test_v1(predictor: ServerProcess, transformer: ServerProcess) -> None:
    sums = ask("v1", lambda client: client.infer(predictor.url, {"instances": X.tolist()}, model_name="row_sum"))
    assert np.ravel(sums["predictions"]).tolist() == X.sum(axis=1).tolist()
    rows = {"instances": [{"distance": 500.0, "carrier": "UA"}]}
    found = ask("v1", lambda client: client.infer(transformer.url, rows, model_name="flights"))
    assert len(found["predictions"]) == 1


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_its_errors_carry_our_words(predictor: ServerProcess, protocol: str) -> None:
    body: dict[str, Any] = {"instances": [["a", "b", "c"]]} if protocol == "v1" else {"inputs": []}
    with pytest.raises(httpx.HTTPStatusError, match="expected"):
        ask(protocol, lambda client: client.infer(predictor.url, body, model_name="row_sum"))
    good: dict[str, Any] = {"instances": [[1, 2, 3]]}
    if protocol == "v2":
        good = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    with pytest.raises(httpx.HTTPStatusError, match="404 Not Found"):
        ask(protocol, lambda client: client.infer(predictor.url, good, model_name="nobody"))


def test_there_are_no_explainers(predictor: ServerProcess) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="404 Not Found"):
        ask("v1", lambda client: client.explain(predictor.url, "row_sum", {"instances": [[1, 2, 3]]}))
