"""Run the cases of a file with the ONNX Runtime of this interpreter: `python check.py cases.json`. Needs onnxruntime and numpy
alone."""

import base64
import json
import sys
from typing import Any

import numpy as np
import onnxruntime as ort


def array_of(written: dict[str, Any]) -> Any:
    if written["type"] == "string":
        array = np.empty(len(written["data"]), object)
        array[:] = written["data"]
        return array.reshape(written["shape"])
    return np.frombuffer(base64.b64decode(written["data"]), written["type"]).reshape(written["shape"])


def agrees(got: Any, expected: Any, tolerance: float) -> bool:
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return False
    if expected.dtype == object:
        return bool(got.tolist() == expected.tolist())
    if expected.dtype.kind != "f":
        return bool((got == expected).all())
    # One rounding of the tensor's own type is the most that an inner difference of float64 can become.
    relative = 2e-7 if expected.dtype == np.float32 else 1e-14
    return bool(np.allclose(got, expected, rtol=relative, atol=tolerance, equal_nan=True))


def main(path: str) -> int:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    wrong = 0
    with open(path) as file:
        cases = json.load(file)
    for case in cases:
        feeds = {name: array_of(written) for name, written in case["feeds"].items()}
        try:
            session = ort.InferenceSession(base64.b64decode(case["model"]), options, providers=["CPUExecutionProvider"])
            said = (
                None if agrees(session.run(None, feeds)[0], array_of(case["expected"]), case["tolerance"]) else "another answer"
            )
        except Exception as error:
            said = str(error)[:200]
        if said:
            wrong += 1
            print(f"{case['name']}: {said}")
    print(f"onnxruntime {ort.__version__}: {len(cases)} cases, {wrong} wrong")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
