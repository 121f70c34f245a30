"""`kubectl apply` of manifests/inferenceservice.yaml serves the flights bundle behind our transformer, with stored features.

Every way in through the Service: /predict by record, REST v1 and v2, gRPC; KServe's own clients and kubectl wait are the judges.
"""

import asyncio
import datetime
import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from bed import flights as example
from bed.flights import MODEL, RECORD, Flights
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import InferResponse

from penstock.testing.grpc_client import GrpcCaller, infer_message

TRANSFORMER = f"{MODEL}-transformer"
# What a process may do: its user, its effective capabilities, whether it may write to the root file system.
RIGHTS = """
import os
status = open("/proc/self/status").read()
print(os.getuid(), status.split("CapEff:")[1].split()[0], os.access("/", os.W_OK))
"""


@pytest.fixture(scope="module")
def http(served: Flights) -> Iterator[httpx.Client]:
    """A client of the transformer's Service."""
    with (
        served.cluster.reach(served.namespace, TRANSFORMER, 80) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}", timeout=30) as client,
    ):
        yield client


def pods(served: Flights, component: str) -> list[dict[str, Any]]:
    """The pods of one of its components, without those that another test has replaced and that are on their way out."""
    selector = f"serving.kserve.io/inferenceservice={MODEL},component={component}"
    found: list[dict[str, Any]] = json.loads(served.kubectl("get", "pods", "--selector", selector, "--output=json"))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def test_a_record_is_looked_up_and_predicted(served: Flights, http: httpx.Client) -> None:
    answer = http.get(f"/predict/{RECORD}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Penstock-Bundle"] == f"{MODEL}@{example.digest(served.bundle)}"
    prediction = answer.json()["predictions"][0]
    assert prediction["label"] == "late"
    assert prediction["data"]["carrier"] == "EV"
    assert http.get("/predict/nobody").status_code == 404


def test_v1_and_v2_agree(http: httpx.Client) -> None:
    first = http.post(f"/v1/models/{MODEL}:predict", json={"instances": [{"flight_id": RECORD}]})
    assert first.status_code == 200, first.text
    tensor = {"name": "flight_id", "datatype": "BYTES", "shape": [1], "data": [RECORD]}
    second = http.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor]})
    assert second.status_code == 200, second.text
    outputs = {output["name"]: output["data"] for output in second.json()["outputs"]}
    late = http.get(f"/predict/{RECORD}").json()["predictions"][0]["scores"]["late"]
    assert late == pytest.approx(outputs["probabilities"][1], abs=1e-6)
    assert str(first.json()["predictions"])


def test_kserves_own_client(served: Flights, http: httpx.Client) -> None:
    async def ask() -> Any:
        async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
            url = str(http.base_url).rstrip("/")
            assert await client.is_server_ready(url)
            assert await client.is_model_ready(url, MODEL)
            record = InferInput("flight_id", [1], "BYTES")
            record.set_data_from_numpy(np.array([RECORD], object), binary_data=True)
            return await client.infer(url, InferRequest(MODEL, [record]), model_name=MODEL)

    answer = asyncio.run(ask())
    assert isinstance(answer, InferResponse)
    assert answer.model_name == MODEL


def test_grpc_through_the_service(served: Flights) -> None:
    with served.cluster.reach(served.namespace, TRANSFORMER, 8081) as (host, port), GrpcCaller(f"{host}:{port}") as caller:
        answer, trailers = caller.call("ModelInfer", infer_message(MODEL, flight_id=np.array([RECORD], object)))
        assert answer.model_name == MODEL
        assert trailers["penstock-bundle"].endswith(example.digest(served.bundle))
        code, _, _ = caller.refused("ModelInfer", infer_message(MODEL, flight_id=np.array(["nobody"], object)))
        assert code is grpc.StatusCode.NOT_FOUND or code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("component", ["transformer", "predictor"])
def test_pods_have_no_rights_on_the_node(served: Flights, component: str) -> None:
    for pod in pods(served, component):
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        shown = served.kubectl("exec", pod["metadata"]["name"], "--", "python3", "-c", RIGHTS)
        uid, capabilities, writable = shown.split()
        assert (uid, int(capabilities, 16), writable) == ("65532", 0, "False")


@pytest.mark.parametrize("component", ["transformer", "predictor"])
def test_the_first_start_was_the_last(served: Flights, component: str) -> None:
    for pod in pods(served, component):
        (status,) = pod["status"]["containerStatuses"]
        assert status["restartCount"] == 0
        conditions = {condition["type"]: condition["lastTransitionTime"] for condition in pod["status"]["conditions"]}
        started = datetime.datetime.fromisoformat(status["state"]["running"]["startedAt"])
        ready = datetime.datetime.fromisoformat(conditions["Ready"])
        print(f"{component}: {(ready - started).total_seconds():.0f} s from the container's start to ready")
