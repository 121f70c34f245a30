"""Retraining in the example's place: the chart's trigger as a pod beside a claim with the log, and the Job that it makes of the
template of docs/continual-learning.md, with the image of examples/flights/Dockerfile.

    permit, watch --trigger()--> pod --a bound is passed--> Job --await_end()--> ModelVersion --await_live()--> Live

The template is the page's own but for the image, and for what of the ModelVersion suits a small machine.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from bed import chart, engine, images
from bed.command import run
from bed.flights import CLAIM, Flights
from bed.logging_service import LOG
from bed.places import ROOT
from bed.trouble import BedError
from prometheus_client.parser import text_string_to_metric_families

from penstock.testing.waiting import until

TRIGGER = "penstock-retrain-trigger"
ACCOUNT = "retrain"
WATCHES = "watches"
LABEL = "penstock.dev/retrain"
VALUE, PASSED, STATE = "penstock_retrain_value", "penstock_retrain_passed", "penstock_retrain_state"
WAIT_S = 180.0
TRAINED_S, LIVE_S = 420, 900
"""At most: what takes a minute and some five on a machine with nothing else to do."""
_EDITORS = "penstock-modelversions-edit"
_TEMPLATE = re.compile(r"^### A Job\n.*?^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPEC: dict[str, Any] = {
    "runtime": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}},
    "rollout": {"steps": [50, 100], "margins": {"latencyP99": 1.5}},
}
_VALUES: dict[str, Any] = {
    "retrainTrigger": {
        "enabled": True,
        "existingClaim": LOG,
        "watches": {"configMap": WATCHES},
        "bundlesClaim": CLAIM,
        "jobs": True,
        "lookSeconds": 1,
    }
}
_READ = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9090/metrics', timeout=30).read().decode())"


def build_training() -> str:
    """The example's training image, on top of the one that the trigger runs in. Raises BedError."""
    tag = images.name_own("flights-training")
    if os.environ.get(images.CHOICE) != "kept" or not engine.identify(tag):
        run([ROOT / "tools" / "build_images.sh", engine.base(), "flights-training"], timeout_s=1800)
    return tag


def install(flights: Flights, watch: dict[str, Any]) -> None:
    """Both images; an account that may apply ModelVersions, the Job's; a watch file, the template beside it. Raises BedError."""
    # The one is made of the other.
    for build in (images.build_feast, build_training):
        flights.cluster.load(build())
    account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": flights.namespace}
    editors = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _EDITORS}
    files = {"watch.yaml": watch | {"action": {"job": "job.yaml"}}, "job.yaml": _job(images.name_own("flights-training"))}
    flights.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": ACCOUNT}, "roleRef": editors,
         "subjects": [account]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": WATCHES},
         "data": {name: yaml.safe_dump(document) for name, document in files.items()}},
    )  # fmt: skip


def remove(flights: Flights, model: str) -> None:
    """What was installed, and the Jobs that were made."""
    flights.kubectl("delete", "jobs", f"--selector={LABEL}={model}", "--timeout=60s")
    flights.kubectl("delete", f"configmap/{WATCHES}", f"rolebinding/{ACCOUNT}", f"serviceaccount/{ACCOUNT}", "--timeout=60s")


@contextmanager
def trigger(flights: Flights) -> Iterator[None]:
    """While it lasts the chart's trigger runs, and has looked at the log."""
    template = "templates/feedback/retrain-trigger.yaml"
    with chart.running(flights.cluster, flights.namespace, template, TRIGGER, feedback=_VALUES):
        yield


def await_job(flights: Flights, model: str) -> dict[str, Any]:
    """The one Job that was made for a model."""

    def made() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(flights.kubectl("get", "jobs", f"--selector={LABEL}={model}", "--output=json"))[
            "items"
        ]
        return found

    (job,) = until(made, WAIT_S, lambda: f"a Job; the trigger says {_last_words(flights)}")
    return job


def event_of(job: dict[str, Any]) -> dict[str, Any]:
    """What its container is told to retrain from."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    told = {variable["name"]: variable["value"] for variable in container["env"]}
    event: dict[str, Any] = json.loads(told["PENSTOCK_RETRAIN_EVENT"])
    return event


def await_end(flights: Flights, job: dict[str, Any]) -> str:
    """What it has printed once it has ended well. Raises BedError with the same."""
    name = f"job/{job['metadata']['name']}"
    try:
        flights.kubectl("wait", "--for=condition=Complete", name, f"--timeout={TRAINED_S}s", timeout_s=TRAINED_S + 10)
    except BedError as error:
        shown = flights.kubectl("describe", "pods", f"--selector=batch.kubernetes.io/job-name={job['metadata']['name']}")
        raise BedError(f"{error}\n{flights.kubectl('logs', name, '--tail=40')}\n{shown[-2000:]}") from None
    return flights.kubectl("logs", name)


def version_of(flights: Flights, retraining: str) -> dict[str, Any]:
    """The ModelVersion that says it came of a retraining."""
    versions = json.loads(flights.kubectl("get", "modelversions", "--output=json"))["items"]
    (found,) = [one for one in versions if one["metadata"].get("annotations", {}).get("penstock.dev/retraining") == retraining]
    version: dict[str, Any] = found
    return version


def await_live(flights: Flights, name: str) -> str:
    """What `penstock rollout status --watch` shows until it is Live. Raises BedError, at once if it never comes there."""
    penstock = Path(sys.executable).parent / "penstock"
    place = ["--namespace", flights.namespace, "--timeout", f"{LIVE_S}s"]
    try:
        return run(
            [penstock, "rollout", "status", name, "--watch", "--wait", "Live", *place],
            environment=flights.cluster.environment,
            timeout_s=LIVE_S + 60,
        )
    except BedError as error:
        raise BedError(f"{error}\n{flights.kubectl('get', 'modelversion', name, '--output=jsonpath={.status}')}") from None


def told(flights: Flights) -> dict[tuple[str, str], float]:
    """The trigger's metrics, by name and the value of their last label."""
    text = flights.kubectl("exec", f"deployment/{TRIGGER}", "--", "python3", "-c", _READ)
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(one.name, one.labels.get("name") or one.labels.get("state", "")): one.value for one in samples}


def _job(image: str) -> dict[str, Any]:
    """The page's template."""
    page = _TEMPLATE.search((ROOT / "docs" / "continual-learning.md").read_text())
    if page is None:
        raise BedError("docs/continual-learning.md has no template of a Job")
    job: dict[str, Any] = yaml.safe_load(page[1])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["image"] = image
    container["command"] += ["--spec", json.dumps(_SPEC)]
    return job


def _last_words(flights: Flights) -> str:
    return flights.kubectl("logs", f"deployment/{TRIGGER}", "--tail=5")
