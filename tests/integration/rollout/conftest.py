"""A namespace of a real API server for each test, and versions whose statuses a test writes as the operator does."""

import contextlib
import io
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.testing.kubernetes import MERGE, KubernetesServer
from penstock_cli.__main__ import main
from penstock_operator.stage import Stage, phase_of

DIGEST = "sha256:" + "ab" * 32
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Told:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


class Place:
    """A namespace of its own, and a kubeconfig of it."""

    def __init__(self, server: KubernetesServer, folder: Path) -> None:
        self.server = server
        self.namespace = server.namespace(f"rollout-{next(_numbers)}")
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self.config(server.admin_token)))

    def config(self, token: str, url: str | None = None) -> dict[str, Any]:
        document = self.server.kubeconfig(self.namespace, token, url=url)
        (here,) = document["contexts"]
        elsewhere = {"name": "elsewhere", "context": here["context"] | {"namespace": "default"}}
        return document | {"contexts": [here, elsewhere]}

    def path(self, name: str = "") -> str:
        base = f"/apis/penstock.dev/v1alpha1/namespaces/{self.namespace}/modelversions"
        return f"{base}/{name}" if name else base

    def version(self, name: str, *, model: str = "flights", **rollout: Any) -> None:
        """As a user applies it."""
        spec = {"inferenceService": model, "bundle": {"uri": f"pvc://models/{name}", "digest": DIGEST}}
        document = {"apiVersion": "penstock.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": name}}
        self.server.request(
            "POST",
            self.path(),
            document | {"spec": spec | {"rollout": {"strategy": "manual", "steps": [5, 25, 50, 100]} | rollout}},
        )

    def status(self, name: str, stage: str, weight: int = 0, *, paused: bool = False, **given: Any) -> None:
        """As the operator writes it."""
        status = {"phase": phase_of(Stage(stage), paused=paused), "stage": stage, "weight": weight, "reason": stage}
        status |= {"observedGeneration": 1, "stageSince": "2026-01-31T12:00:00.000Z"} | given
        self.server.request("PATCH", f"{self.path(name)}/status", {"status": status}, kind=MERGE)

    def annotations(self, name: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self.server.request("GET", self.path(name))["metadata"].get("annotations", {})
        return found

    def remove(self, name: str) -> None:
        self.server.send("DELETE", self.path(name))

    def told(self, *arguments: str) -> Told:
        """`penstock rollout …` of this cluster, to its end."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["rollout", *arguments, "--kubeconfig", str(self.kubeconfig)])
        return Told(status, out.getvalue(), err.getvalue())

    @contextlib.contextmanager
    def running(self, *arguments: str, **given: Any) -> Iterator["subprocess.Popen[str]"]:
        """The same as a process of its own, by $KUBECONFIG; it is ended with the test."""
        command = [sys.executable, "-m", "penstock_cli", "rollout", *arguments]
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env} | given
        with subprocess.Popen(command, **options) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def place(kubernetes: KubernetesServer, tmp_path: Path) -> Place:
    return Place(kubernetes, tmp_path)
