"""Jobs on a real API server: made once, followed to their end, and refused with a reason."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import UpstreamUnavailable
from penstock.testing.kubernetes import MERGE, KubernetesServer
from penstock.testing.servers import free_port
from penstock_transformer.feedback.trigger.asking import JobAsker
from penstock_transformer.feedback.trigger.bounds import JobTemplate, open_watch
from penstock_transformer.feedback.trigger.job import job_of
from penstock_transformer.feedback.trigger.kube_jobs import KubeJobs
from penstock_transformer.feedback.trigger.settings import TriggerSettings
from penstock_transformer.feedback.trigger.turn import Watcher
from penstock_transformer.predictions.webhook_machine import Failure

# An API server is started first.
pytestmark = pytest.mark.timeout(300)

RULES = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list"]}]
OLD = f"sha256:{'a' * 64}"
WATCH = """\
model: flights
window: 1h
every: 1s
leastRows: 20
quality: {accuracy: {least: 0.7}}
log: pvc://prediction-log
action: {job: job.yaml}
"""
JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {labels: {team: air}}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: retrain
        image: example/retrain:1
        args: [--since, $(PENSTOCK_RETRAIN_SINCE), --until, $(PENSTOCK_RETRAIN_UNTIL)]
"""


class Site:
    """A namespace with the trigger's account, and a log with a bad bundle."""

    def __init__(self, server: KubernetesServer, namespace: str, folder: Path, template: str = JOB) -> None:
        self.server, self.log = server, folder / "log"
        self.namespace = server.namespace(namespace)
        self.account = server.account(namespace, "retrain-trigger", RULES)
        (folder / "watch.yaml").write_text(WATCH)
        (folder / "job.yaml").write_text(template)
        self.watch = open_watch(folder / "watch.yaml")
        self.jobs = KubeJobs(None, server.environment, self.account)

    def turn(self) -> Watcher:
        assert isinstance(self.watch.action, JobTemplate)
        settings = TriggerSettings(log_dir=str(self.log), watch=("watch.yaml",), webhook_first_retry_s=0.0)
        watcher = Watcher(self.log, self.watch, JobAsker(self.watch, self.watch.action, settings, self.jobs))
        asyncio.run(watcher.turn())
        return watcher

    def made(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.server.request("GET", self.path())["items"]
        return found

    def path(self, name: str = "") -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs{'/' if name else ''}{name}"

    def fail(self, name: str) -> None:
        """As the Job's controller says that it has failed."""
        now = "2026-01-31T12:00:00Z"
        conditions = [
            {"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "", "lastTransitionTime": now}
            for kind in ("FailureTarget", "Failed")
        ]
        status = {"startTime": now, "conditions": conditions, "failed": 1}
        self.server.request("PATCH", f"{self.path(name)}/status", {"status": status}, kind=MERGE)


def test_a_job_is_made_once_and_followed_to_its_end(
    kubernetes: KubernetesServer, tmp_path: Path, log_rows: Callable[..., None]
) -> None:
    site = Site(kubernetes, "trigger-once", tmp_path)
    log_rows(site.log, OLD, 40, right=False)
    watcher = site.turn()
    assert watcher.fault is None
    one = watcher.memory.retraining
    assert one is not None
    assert one.accepted_s is not None
    (job,) = site.made()
    assert job["metadata"]["name"] == one.id
    assert job["metadata"]["labels"]["team"] == "air"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    told = {variable["name"]: variable["value"] for variable in container["env"]}
    assert (told["PENSTOCK_RETRAIN_MODEL"], told["PENSTOCK_RETRAIN_DIGEST"]) == ("flights", OLD)
    assert told["PENSTOCK_RETRAIN_LOG"] == "pvc://prediction-log"
    # Asked for again by one who forgot everything: the Job that is there is this one, and the model is known to be busy.
    assert isinstance(site.watch.action, JobTemplate)
    assert asyncio.run(site.jobs.make(job_of(site.watch, site.watch.action, one, site.namespace))) == (200, None)
    assert asyncio.run(site.jobs.busy("flights"))
    assert not asyncio.run(site.jobs.busy("other"))
    (site.log / "flights/retraining.json").unlink()
    assert site.turn().memory.retraining is None
    assert len(site.made()) == 1
    assert asyncio.run(site.jobs.progress(one.id)) == "running"
    site.fail(one.id)
    assert asyncio.run(site.jobs.progress(one.id)) == "failed"
    assert not asyncio.run(site.jobs.busy("flights"))
    assert asyncio.run(site.jobs.progress("never-was")) == "removed"


def test_what_the_api_server_refuses_is_told_and_tried_again(
    kubernetes: KubernetesServer, tmp_path: Path, log_rows: Callable[..., None]
) -> None:
    site = Site(kubernetes, "trigger-refused", tmp_path, JOB.replace("      restartPolicy: Never\n", ""))
    log_rows(site.log, OLD, 40, right=False)
    one = site.turn().memory.retraining
    assert one is not None
    assert (one.attempts, one.accepted_s) == (1, None)
    assert "restartPolicy" in one.fault
    assert one.fault.startswith("status 422")
    kubernetes.allow(site.namespace, "retrain-trigger", [])
    forbidden = asyncio.run(site.jobs.make({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}))
    assert isinstance(forbidden, Failure)
    assert forbidden.reason.startswith("status 403")
    with pytest.raises(UpstreamUnavailable, match="403"):
        asyncio.run(site.jobs.busy("flights"))
    away = KubeJobs("x", kubernetes.environment | {"KUBERNETES_SERVICE_PORT": str(free_port())}, site.account)
    assert isinstance(asyncio.run(away.make({})), Failure)
    assert asyncio.run(away.progress("x")) is None
