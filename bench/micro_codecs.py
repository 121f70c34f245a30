"""What decoding, encoding and batching cost a request: one row of 32 floats in, one float out, 64 requests a batch.

Run as `python bench/micro_codecs.py [iterations]`. Prints microseconds a request, the best of five rounds; the first line is the
JSON parser alone, as a measure of the machine. No server, no model.
"""

import asyncio
import sys
import timeit
from collections.abc import Callable

import msgspec
import numpy as np
import orjson

from penstock.batcher import Batcher, BatchPolicy
from penstock.dataplane import Context, InferRequest, InferResponse
from penstock.errors import PenstockError
from penstock.protocol import v2
from penstock.protocol.limits import Limits
from penstock.tensors import Array, Tensor

BATCH = 64
LIMITS = Limits()
CONTEXT = Context("bench")


class Item:
    """The smallest work: what a server's would be, without its socket."""

    __slots__ = ("context", "disconnected", "key", "nbytes", "request", "rows")

    def __init__(self, request: InferRequest) -> None:
        self.request = request
        self.rows = 1
        self.nbytes = 128
        self.key = ("x", (32,))
        self.context = CONTEXT
        self.disconnected = False

    def error(self, error: PenstockError) -> None:
        raise error


def decode(body: bytes, header_length: int | None) -> InferRequest:
    return v2.decode_request(body, model="m", version=None, context=CONTEXT, header_length=header_length, limits=LIMITS)


def encode_batch(request: InferRequest, outputs: Array) -> None:
    """A batch's output into one answer for each of its callers."""
    batch = Tensor.from_array("y", outputs)
    for at in range(BATCH):
        v2.encode_response(InferResponse("m", [batch.rows(at, at + 1)], bundle="m@sha256:0", version="1"), request)


async def batcher_us(request: InferRequest, rounds: int) -> float:
    """Submitting, taking and delivering alone: compute does nothing."""

    delivered = asyncio.Event()

    def deliver(_works: list[Item], _result: int) -> None:
        delivered.set()

    batcher: Batcher[Item, int] = Batcher(len, deliver, BatchPolicy(max_rows=BATCH, inline_rows=BATCH))
    items = [Item(request) for _ in range(BATCH)]
    best = float("inf")
    for _ in range(rounds):
        started = timeit.default_timer()
        for item in items:
            batcher.submit(item)
        await delivered.wait()
        delivered.clear()
        best = min(best, timeit.default_timer() - started)
    batcher.close()
    return best / BATCH * 1e6


def show(what: str, call: Callable[[], object], iterations: int, share: int = 1) -> None:
    best = min(timeit.repeat(call, number=max(iterations // share, 1), repeat=5))
    print(f"{what:32}{best / max(iterations // share, 1) / share * 1e6:8.2f} us")


def main() -> None:
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    generator = np.random.default_rng(0)
    row = generator.standard_normal((1, 32), dtype=np.float32)
    document = {"inputs": [{"name": "x", "shape": [1, 32], "datatype": "FP32", "data": row.ravel().tolist()}]}
    plain = orjson.dumps(document)
    binary, header_length = v2.encode_request(InferRequest("m", [Tensor.from_array("x", row)], CONTEXT))
    outputs = generator.standard_normal((BATCH, 1), dtype=np.float32)
    json_request, binary_request = decode(plain, None), decode(binary, header_length)

    show("msgspec alone, untyped", lambda: msgspec.json.decode(plain), iterations)
    show("decode JSON", lambda: decode(plain, None), iterations)
    show("decode binary", lambda: decode(binary, header_length), iterations)
    show(f"encode JSON, batch of {BATCH}", lambda: encode_batch(json_request, outputs), iterations, BATCH)
    show(f"encode binary, batch of {BATCH}", lambda: encode_batch(binary_request, outputs), iterations, BATCH)
    answer = v2.encode_response(InferResponse("m", [Tensor.from_array("y", outputs)], bundle="m@sha256:0"), binary_request)
    show("client: decode answer", lambda: v2.decode_response(*answer), iterations)
    show("client: encode request", lambda: v2.encode_request(json_request), iterations)
    print(f"{f'batcher, inline, {BATCH} waiting':32}{asyncio.run(batcher_us(json_request, iterations // BATCH)):8.2f} us")


if __name__ == "__main__":
    main()
