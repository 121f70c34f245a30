"""Triton's own front end, from NVIDIA's pytriton wheel, around the session: dynamic batching, JSON, binary and gRPC."""

from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from session import Session, options

if __name__ == "__main__":
    given = options()
    session = Session(given.model)
    kind = np.bytes_ if session.datatype == "BYTES" else session.dtype

    @batch
    def infer(**inputs: Any) -> dict[str, Any]:
        array = next(iter(inputs.values()))
        return {session.output: session(np.char.decode(array.astype(bytes)) if kind is np.bytes_ else array)}

    config = TritonConfig(http_port=given.port, grpc_port=given.grpc_port or None, allow_metrics=False, log_verbose=0)
    with Triton(config=config) as triton:
        triton.bind(
            "bench",
            infer,
            inputs=[Tensor(name=session.input, dtype=kind, shape=session.shape[1:])],
            outputs=[Tensor(name=session.output, dtype=session.output_dtype, shape=session.output_shape[1:])],
            config=ModelConfig(
                max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0) if given.batching else None
            ),
        )
        triton.serve()
