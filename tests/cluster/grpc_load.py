"""A load over gRPC with Triton's own client: `python grpc_load.py HOST:PORT MODEL RECORD PER_SECOND`, until its input ends.

Then one line of JSON: every answer as [time, the version that it names, its last probability], and what went wrong with the
others. A process of its own: Triton's client and KServe's cannot be imported into one.
"""

import json
import sys
import threading
import time

import numpy as np
import tritonclient.grpc as triton

TIMEOUT_S = 10.0


def wait_for_end(ended: threading.Event) -> None:
    """Whoever started this closes its input."""
    sys.stdin.read()
    ended.set()


def main() -> None:
    address, model, record, per_second = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    ended = threading.Event()
    threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
    client = triton.InferenceServerClient(address)
    tensor = triton.InferInput("flight_id", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([record.encode()], object))
    answers: list[tuple[float, str, str]] = []
    failures: list[str] = []
    sent = 0
    due = time.monotonic()
    while not ended.wait(max(0.0, due - time.monotonic())):
        due += 1 / per_second
        sent += 1
        try:
            key = {"penstock-route-key": f"grpc-{sent}"}
            result = client.infer(model, [tensor], headers=key, client_timeout=TIMEOUT_S)
        except triton.InferenceServerException as error:
            failures.append(f"{time.time():.2f} {error.status()} {error.message()}")
            continue
        score = result.as_numpy("probabilities").ravel()[-1]
        answers.append((time.time(), result.get_response().model_version, f"{score:.6f}"))
    client.close()
    print(json.dumps({"sent": sent, "answers": answers, "failures": failures}))


main()
