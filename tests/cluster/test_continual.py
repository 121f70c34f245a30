"""Continual learning on a cluster, the whole circle: served and logged there, told what became of it, found to be bad, retrained,
applied, verified there, judged by evidence, Live.

The trigger and the training run beside the cluster, on the folders that its claims are; a cluster's Job of the same script is
tests/integration/trigger's, with an API server.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bed import flights as example
from bed import logging_service
from bed.flights import CLAIM, Flights
from bed.logging_service import LOG, ask_and_tell, folder, known_flights, receiver
from bed.places import ROOT
from bed.trials import CALLERS
from bed.versions import penstock_rollout, wait_for, wait_live

from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until
from penstock_transformer.feedback.folder import LogFolder

pytestmark = pytest.mark.timeout(3600)
NAME = "circle"
ASKED = 600
WAIT_S = 180.0


@pytest.fixture
def logged(flights: Flights) -> Iterator[str]:
    """The URL of a model of its own, whose every prediction is logged."""
    if flights.cluster.kind != "own":
        pytest.skip("claims are folders of this machine on our own cluster only: PENSTOCK_CLUSTER=own")
    flights.apply(logging_service.logging_service(flights, NAME))
    flights.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{NAME}", "--timeout=180s", timeout_s=200)
    flights.kubectl("rollout", "status", f"deployment/{NAME}-transformer", "--timeout=60s")
    with flights.cluster.reach(flights.namespace, f"{NAME}-transformer", 80) as (host, port):
        yield f"http://{host}:{port}"
    flights.kubectl("delete", "modelversion", "--all", "--timeout=180s")
    flights.kubectl("delete", "inferenceservice", NAME, "--timeout=60s")


def due(flights: Flights, folder_of_test: Path) -> dict[str, Any]:
    """The event by which the trigger asks for a retraining."""
    log, watch = folder(flights, LOG), folder_of_test / "watch.yaml"
    with receiver() as (url, received):
        document = {
            "model": NAME, "window": "1h", "every": "1s", "leastRows": ASKED // 2, "bundles": str(folder(flights, CLAIM)),
            "log": str(log), "quality": {"accuracy": {"least": 0.85}}, "action": {"webhook": url},
        }  # fmt: skip
        watch.write_text(yaml.safe_dump(document))
        options = ("--log_dir", str(log), "--watch", str(watch), "--look_s", "1")
        secret = {"PENSTOCK_TRANSFORMER_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
        with ServerProcess("penstock_transformer", *options, env=secret, program=("retrain-trigger",)):
            until(lambda: received, WAIT_S, "the event")
    event: dict[str, Any] = json.loads(received[0])
    return event


def retrain(flights: Flights, event: dict[str, Any]) -> str:
    """Train on the log's window, build, apply; the ModelVersion's name."""
    bundles = folder(flights, CLAIM)
    options = ["--log", folder(flights, LOG), "--base", bundles, "--out", bundles, "--apply", "--namespace", flights.namespace]
    command = [sys.executable, ROOT / "examples/flights/retrain.py", *options, "--kubeconfig", flights.cluster.kubeconfig]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PENSTOCK_RETRAIN_EVENT": json.dumps(event)}
    done = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.split(".yaml")[0].splitlines()[-1]).name


def test_the_whole_circle(flights: Flights, logged: str, tmp_path: Path) -> None:
    assert asyncio.run(ask_and_tell(logged, known_flights(ASKED))) == ASKED
    log = folder(flights, LOG)
    until(lambda: len(list(LogFolder(log, NAME).rows())) == ASKED, WAIT_S, "every row in the log")
    event = due(flights, tmp_path)
    assert event["data"]["digest"] == example.digest(flights.bundle)
    assert [reason["name"] for reason in event["data"]["reasons"]] == ["accuracy"]
    version = retrain(flights, event)
    with subprocess.Popen([sys.executable, str(CALLERS), logged, "--per_second", "80"]) as calling:
        try:
            wait_for(flights, version, "phase", "Canary")
            print(flights.kubectl("get", "modelversion", version, "--output=jsonpath={.status.message}"))
            # A shadow has judged it; what the steps find of a good version takes minutes, and is test_evidence.py's.
            penstock_rollout(flights, "promote", version, "--to", "100")
            wait_live(flights, version)
        finally:
            calling.terminate()
    found = flights.kubectl("get", "modelversion", version, r"--output=jsonpath={.metadata.annotations.penstock\.dev/retraining}")
    assert found == event["id"]
