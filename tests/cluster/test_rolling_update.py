"""The pods of the InferenceService are replaced under load from inside the cluster, and no request fails.

What this holds to: SIGTERM makes a pod unready, it goes on serving until the endpoints have forgotten it, and only then it ends.
The InferenceService is changed, not its Deployment: KServe takes back at once what `kubectl rollout restart` writes there.
"""

import json

import pytest
from bed import flights as example
from bed.flights import MODEL, RECORD, Flights
from bed.underway import load
from bed.versions import told

MARK = "penstock.dev/test-roll"


def replace_pods(served: Flights, component: str, mark: str) -> None:
    """Change the annotations of a component's pods, and wait until every pod has the new ones."""
    deployment = f"deployment/{MODEL}-{component}"
    change = {"spec": {component: {"annotations": {MARK: mark}}}}
    served.kubectl("patch", "inferenceservice", MODEL, "--type=merge", f"--patch={json.dumps(change)}")
    found = r"jsonpath={.spec.template.metadata.annotations.penstock\.dev/test-roll}"
    served.kubectl("wait", f"--for={found}={mark}", deployment, "--timeout=60s")
    served.kubectl("rollout", "status", deployment, "--timeout=180s")


@pytest.mark.parametrize("component", ["transformer", "predictor"])
def test_no_request_fails_while_pods_are_replaced(served: Flights, component: str) -> None:
    served.kubectl("rollout", "status", f"deployment/{MODEL}-{component}", "--timeout=60s")
    with load(served, f"/predict/{RECORD}") as end:
        for mark in ("one", "two"):
            replace_pods(served, component, mark)
        result = end()
    print(told(result))
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    assert result["statuses"]["200"] > 100
    assert list(result["bundles"]) == [f"{MODEL}@{example.digest(served.bundle)}"]
