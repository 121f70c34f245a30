"""KServe's gRPC client against a predictor at argv[1]: raw and typed tensors, parameters, errors, its own way to load a model."""

import asyncio
import sys
from importlib import import_module
from typing import Any

import grpc
import numpy as np

kserve: Any = import_module("kserve")
protocol: Any = import_module("kserve.protocol.grpc.grpc_predict_v2_pb2")
stubs: Any = import_module("kserve.protocol.grpc.grpc_predict_v2_pb2_grpc")


def request(form: str, model: str = "several") -> Any:
    a, b = kserve.InferInput("a", [2, 2], "FP32"), kserve.InferInput("b", [2], "INT64")
    a.set_data_from_numpy(np.array([[1, 2], [3, 4]], np.float32), binary_data=form == "raw")
    b.set_data_from_numpy(np.array([1, 3]), binary_data=form == "raw")
    return kserve.InferRequest(model, [a, b], request_id="q-1", parameters={"purpose": "test"})


async def main() -> None:
    async with kserve.InferenceGRPCClient(url=sys.argv[1]) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("several")
        for form in ("raw", "typed"):
            answer = await client.infer(request(form), headers=[("x-request-id", "r-1")])
            assert (answer.id, answer.model_name) == ("q-1", "several")
            outputs = {output.name: output for output in answer.outputs}
            assert outputs["sum"].as_numpy().tolist() == [[2, 3], [6, 7]]
            assert outputs["big"].as_numpy().ravel().tolist() == [False, True]
        refused = await asyncio.gather(client.infer(request("raw", "nobody")), return_exceptions=True)
        assert [error.code() for error in refused] == [grpc.StatusCode.NOT_FOUND]
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        done = await stub.RepositoryModelUnload(protocol.RepositoryModelUnloadRequest(model_name="turned"))
        assert (done.model_name, done.isUnloaded) == ("turned", True)
        done = await stub.RepositoryModelLoad(protocol.RepositoryModelLoadRequest(model_name="turned"))
        assert (done.model_name, done.isLoaded) == ("turned", True)


asyncio.run(main())
