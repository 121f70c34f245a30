"""The same ONNX Runtime session for every peer: one thread, CPU. Imported by the server scripts, each in its own environment.

Only the standard library, numpy and onnxruntime may be imported here.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

# What the models of this benchmark take, by ONNX Runtime's name of the type.
DTYPES = {"tensor(float)": np.float32, "tensor(string)": np.object_, "tensor(int64)": np.int64}
DATATYPES = {"tensor(float)": "FP32", "tensor(string)": "BYTES", "tensor(int64)": "INT64"}


class Session:
    """A model with one input and one output, run with arrays."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.runtime = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        (given,), (made,) = self.runtime.get_inputs(), self.runtime.get_outputs()
        self.input, self.output = given.name, made.name
        self.shape = tuple(axis if isinstance(axis, int) else -1 for axis in given.shape)
        self.output_shape = tuple(axis if isinstance(axis, int) else -1 for axis in made.shape)
        self.dtype, self.datatype = DTYPES[given.type], DATATYPES[given.type]
        self.output_dtype, self.output_datatype = DTYPES[made.type], DATATYPES[made.type]

    def __call__(self, array: Any) -> Any:
        """The output for an input of any form that numpy takes; rows first."""
        array = np.asarray(array, self.dtype).reshape(self.shape if self.shape.count(-1) == 1 else np.shape(array))
        return self.runtime.run(None, {self.input: array})[0]

    def raw(self, body: bytes) -> Any:
        """The output for the bytes of an array, rows first."""
        return self(np.frombuffer(body, self.dtype))


def options() -> argparse.Namespace:
    """What the harness passes to each server script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc_port", type=int, default=0)
    parser.add_argument("--batching", action="store_true")
    return parser.parse_args()
