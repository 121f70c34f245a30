"""Triton's asyncio client against a predictor at argv[1]: many calls at once, and a stream."""

import asyncio
import sys
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import numpy as np

triton: Any = import_module("tritonclient.grpc.aio")


def request(number: int) -> list[Any]:
    made = triton.InferInput("x", [2, 3], "FP32")
    made.set_data_from_numpy(np.full((2, 3), number, np.float32))
    return [made]


async def main() -> None:
    async with triton.InferenceServerClient(sys.argv[1]) as client:
        assert await client.is_server_ready()
        answers = await asyncio.gather(*(client.infer("row_sum", request(number)) for number in range(64)))
        for number, answer in enumerate(answers):
            assert answer.as_numpy("y").ravel().tolist() == [3 * number] * 2

        async def requests() -> AsyncIterator[dict[str, Any]]:
            for number in range(300):
                yield {"model_name": "row_sum", "inputs": request(number), "request_id": str(number)}

        number = 0
        async for result, error in client.stream_infer(requests()):
            assert error is None
            assert result.get_response().id == str(number)
            assert result.as_numpy("y").ravel().tolist() == [3 * number] * 2
            number += 1
        assert number == 300


asyncio.run(main())
