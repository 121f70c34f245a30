"""InferenceServices that are waited for: the example's, applied anew in the middle of a test, until every pod is of it and none
of before; any, until it answers."""

from collections.abc import Sequence
from typing import Any

from bed.flights import MODEL, RECORD, Flights

from penstock.testing.waiting import until

ANSWERS_S = 60.0
PARTS = ("predictor", "transformer")
REPLACED_S = 240
MARK = "penstock.dev/test-release"


def serve(served: Flights, document: dict[str, Any], mark: str, parts: Sequence[str] = PARTS) -> None:
    """Apply it, and wait until every pod of these parts is of it; the mark tells its pods from those before."""
    for part in parts:
        document["spec"][part]["annotations"] = {MARK: mark}
    served.apply(document)
    marked = rf"jsonpath={{.spec.template.metadata.annotations.penstock\.dev/test-release}}={mark}"
    for part in parts:
        served.kubectl("wait", f"--for={marked}", f"deployment/{MODEL}-{part}", "--timeout=60s")
    await_pods(served)


def await_pods(served: Flights) -> None:
    """Until the pods are those that KServe wants, and ready."""
    for part in PARTS:
        limit = f"--timeout={REPLACED_S}s"
        served.kubectl("rollout", "status", f"deployment/{MODEL}-{part}", limit, timeout_s=REPLACED_S + 10)


def await_answers(place: Flights, service: str) -> None:
    """Until pods of the node reach a transformer's Service: its pods are ready a moment before the way to them is laid."""
    ask = f"import urllib.request; urllib.request.urlopen('http://{service}.{place.namespace}/predict/{RECORD}', timeout=10)"
    command = ("--namespace", place.namespace, "exec", "filler", "--", "python3", "-c", ask)
    until(lambda: place.cluster.succeeds(*command), ANSWERS_S, f"{service} answers in {place.namespace}")
