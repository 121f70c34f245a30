"""KServe's gRPC client against a transformer at argv[1]: features by name, raw and typed."""

import asyncio
import sys
from importlib import import_module
from typing import Any

import grpc
import numpy as np

kserve: Any = import_module("kserve")


def request(form: str, model: str = "flights") -> Any:
    distance, seats = kserve.InferInput("distance", [2], "FP32"), kserve.InferInput("seats", [2], "INT64")
    distance.set_data_from_numpy(np.array([10, 20], np.float32), binary_data=form == "raw")
    seats.set_data_from_numpy(np.array([150, 90]), binary_data=form == "raw")
    return kserve.InferRequest(model, [distance, seats], request_id="q")


async def main() -> None:
    async with kserve.InferenceGRPCClient(url=sys.argv[1]) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("flights")
        found = []
        for form in ("raw", "typed"):
            answer = await client.infer(request(form))
            assert (answer.id, answer.model_name) == ("q", "flights")
            found.append(answer.outputs[0].as_numpy().tolist())
        assert found[0] == found[1]
        assert len(found[0]) == 2
        refused = await asyncio.gather(client.infer(request("raw", "nobody")), return_exceptions=True)
        assert [error.code() for error in refused] == [grpc.StatusCode.NOT_FOUND]


asyncio.run(main())
