"""helm against a real API server: install, upgrade from the release before, roll back, uninstall; and the rights that come of it.

There are no controllers, so no pod runs: what is tested is that the API server takes every object, defaults and validation
included, and that what may not go stays.
"""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.testing.definitions import foreign_definition
from penstock.testing.kubernetes import MERGE, ApiStatus, KubernetesServer
from penstock.testing.programs import ProgramMissing, helm
from penstock.testing.servers import free_port
from penstock.testing.shared_servers import started
from penstock.testing.waiting import until

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "penstock"
CHART_TESTS = ROOT / "tests" / "unit" / "chart"
PREVIOUS = CHART_TESTS / "releases" / "0.1.0"
MODEL_VERSIONS = "/apis/penstock.dev/v1alpha1/namespaces/default/modelversions"
PATHS = {"ConfigMap": "/api/v1/namespaces/default/configmaps", "Deployment": "/apis/apps/v1/namespaces/default/deployments"}
RUNTIMES = "/apis/serving.kserve.io/v1alpha1/clusterservingruntimes"

Document = dict[str, Any]


class Helm:
    """helm with the rights of an administrator, one release named penstock in the namespace penstock."""

    def __init__(self, server: KubernetesServer, folder: Path) -> None:
        self._kubeconfig = folder / "kubeconfig"
        self._kubeconfig.write_text(json.dumps(server.kubeconfig("penstock")))

    def run(self, *arguments: str | Path) -> str:
        """Its output. Fails with helm's own message."""
        command = [helm(), "--kubeconfig", self._kubeconfig, "--namespace", "penstock", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesServer]:
    """An API server that knows the resources of KServe, KEDA and the Prometheus operator, as a schema that takes anything."""
    try:
        helm()
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    with started(KubernetesServer) as server:
        server.define(*(foreign_definition(*given) for given in FOREIGN))
        for name in ("ml", "shop"):
            server.namespace(name)
        yield server


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FOREIGN = (
    ("serving.kserve.io", "v1alpha1", "clusterservingruntimes", "ClusterServingRuntime", "Cluster"),
    ("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService", "Namespaced"),
    ("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject", "Namespaced"),
    ("keda.sh", "v1alpha1", "triggerauthentications", "TriggerAuthentication", "Namespaced"),
    ("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor", "Namespaced"),
    ("monitoring.coreos.com", "v1", "podmonitors", "PodMonitor", "Namespaced"),
    ("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule", "Namespaced"),
)


@pytest.fixture
def release(server: KubernetesServer, tmp_path: Path) -> Iterator[Helm]:
    """helm, and a cluster without the release when the test is done."""
    found = Helm(server, tmp_path)
    yield found
    found.run("uninstall", "penstock", "--ignore-not-found")


def names(server: KubernetesServer, path: str) -> set[str]:
    return {item["metadata"]["name"] for item in server.request("GET", path)["items"]}


def can(server: KubernetesServer, account: str, namespace: str, verb: str, resource: str, name: str = "") -> bool:
    """Whether the API server would let a service account do that."""
    group, _, plain = resource.rpartition("/")
    plain, _, subresource = plain.partition(":")
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "group": group,
        "resource": plain,
        "subresource": subresource,
        "name": name,
    }
    document = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{account}", "resourceAttributes": attributes},
    }
    answer = server.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", document)
    return bool(answer["status"]["allowed"])


def model_version() -> Document:
    found: Document = yaml.safe_load((ROOT / "manifests/modelversion.yaml").read_text())
    return found


def test_upgraded_from_the_release_before_and_back(server: KubernetesServer, release: Helm) -> None:
    release.run("install", "penstock", PREVIOUS, "--create-namespace")
    assert names(server, RUNTIMES) == {"penstock"}
    release.run("upgrade", "penstock", CHART, "--reset-then-reuse-values")
    assert names(server, RUNTIMES) == {"penstock", "penstock-predictor"}
    assert "penstock-operator" in names(server, "/apis/apps/v1/namespaces/penstock/deployments")
    release.run("rollback", "penstock", "1")
    assert names(server, RUNTIMES) == {"penstock"}
    assert "penstock-operator" not in names(server, "/apis/apps/v1/namespaces/penstock/deployments")
    assert "modelversions.penstock.dev" in names(server, CRDS)
    # And forward again, over what was kept.
    release.run("upgrade", "penstock", CHART, "--reset-then-reuse-values")
    assert names(server, RUNTIMES) == {"penstock", "penstock-predictor"}


def test_uninstalled_it_leaves_the_model_versions(server: KubernetesServer, release: Helm) -> None:
    release.run("install", "penstock", CHART, "--create-namespace")
    server.request("POST", MODEL_VERSIONS, model_version())
    release.run("uninstall", "penstock")
    assert names(server, MODEL_VERSIONS) == {"flights-8"}
    assert names(server, RUNTIMES) == set()
    release.run("install", "penstock", CHART)
    assert names(server, MODEL_VERSIONS) == {"flights-8"}
    server.send("DELETE", f"{MODEL_VERSIONS}/flights-8")


def test_every_part_is_taken_and_changed(server: KubernetesServer, release: Helm) -> None:
    everything = CHART_TESTS / "values" / "everything.yaml"
    release.run("install", "penstock", CHART, "--create-namespace", "--values", everything)
    workers = "/apis/apps/v1/namespaces/ml/deployments"
    assert "penstock-flights-worker" in names(server, workers)
    release.run("upgrade", "penstock", CHART, "--values", everything, "--values", CHART / "values-production.yaml")
    release.run("upgrade", "penstock", CHART, "--values", CHART_TESTS / "values" / "least.yaml")
    assert "penstock-flights-worker" not in names(server, workers)
    assert "modelversions.penstock.dev" in names(server, CRDS)


def test_each_account_may_do_what_it_needs_and_no_more(server: KubernetesServer, release: Helm) -> None:
    values = ["--set", "operator.namespaces={ml}", "--set", "transformer.limitToModels=true"]
    models = ["--set", "models[0].name=flights", "--set", "models[0].namespace=ml"]
    release.run("install", "penstock", CHART, "--create-namespace", *values, *models)
    operator, transformer = "penstock:penstock-operator", "ml:penstock-transformer"
    assert can(server, operator, "ml", "patch", "penstock.dev/modelversions:status")
    assert can(server, operator, "ml", "create", "pods:eviction")
    assert can(server, operator, "penstock", "update", "coordination.k8s.io/leases", "penstock-operator")
    assert not can(server, operator, "shop", "list", "penstock.dev/modelversions")
    assert not can(server, operator, "ml", "get", "secrets")
    assert not can(server, operator, "ml", "create", "pods")
    assert not can(server, operator, "penstock", "update", "coordination.k8s.io/leases", "other")
    assert can(server, transformer, "ml", "watch", "configmaps", "penstock-route-flights")
    assert can(server, transformer, "ml", "list", "discovery.k8s.io/endpointslices")
    assert not can(server, transformer, "ml", "get", "configmaps", "kube-root-ca.crt")
    assert not can(server, transformer, "ml", "patch", "configmaps", "penstock-route-flights")
    assert not can(server, transformer, "shop", "get", "configmaps", "penstock-route-flights")


@pytest.mark.parametrize(
    "namespaces, in_flight",
    [("", 0), ("default", 0), ("default", 8)],
    ids=["everywhere", "in its namespaces", "with autoscalers"],
)
def test_the_operator_works_with_the_rights_that_the_chart_gives(
    server: KubernetesServer, release: Helm, tmp_path: Path, namespaces: str, in_flight: int
) -> None:
    """From the ModelVersion to its verification's Job, and to its end: no call of it is forbidden."""
    values = {"namespaces": namespaces.split(), "autoscaling": {"transformer": {"inFlight": in_flight}}}
    release.run("install", "penstock", CHART, "--create-namespace", "--set-json", f"operator={json.dumps(values)}")
    token = server.token("penstock", "penstock-operator")
    kubeconfig = tmp_path / "operator"
    kubeconfig.write_text(json.dumps(server.kubeconfig("penstock", token)))
    log = tmp_path / "log"
    command = [sys.executable, "-m", "penstock_operator", f"--kubeconfig={kubeconfig}", f"--namespaces={namespaces}"]
    command.append(f"--transformer_in_flight={in_flight}")
    jobs, name = "/apis/batch/v1/namespaces/default/jobs", "flights-8"
    scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"

    def said() -> str:
        return log.read_text()[-4000:]

    with log.open("wb") as output:
        port = free_port()
        operator = subprocess.Popen([*command, f"--http_port={port}", "--admin_port=0"], stdout=output, stderr=subprocess.STDOUT)
    try:
        assert "operator: ready" in check_installed(server, port, token, tmp_path)
        server.request("POST", MODEL_VERSIONS, model_version())
        until(lambda: f"{name}-verify" in names(server, jobs), 60, said)
        until(lambda: "phase" in server.request("GET", f"{MODEL_VERSIONS}/{name}").get("status", {}), 60, said)
        until(lambda: bool(names(server, "/api/v1/namespaces/default/events")), 60, said)
        until(lambda: list(names(server, scalers)) == ["flights-in-flight"] * (in_flight > 0), 60, said)
        server.send("DELETE", f"{MODEL_VERSIONS}/{name}")
        until(lambda: name not in names(server, MODEL_VERSIONS), 60, said)
    finally:
        operator.terminate()
        status = operator.wait(timeout=30)
        forget(server, name)
        for path in (jobs, scalers, "/api/v1/namespaces/default/events"):
            server.send("DELETE", path)
    assert status == 0
    assert "forbidden" not in log.read_text().lower(), log.read_text()


def check_installed(server: KubernetesServer, port: int, token: str, folder: Path) -> str:
    """What `helm test` runs, as its pod would; its output."""
    shutil.copy(server.ca, folder / "ca.crt")
    (folder / "token").write_text(token)
    command: list[str | Path] = [sys.executable, CHART / "files/installed.py", f"http://127.0.0.1:{port}/readyz", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=server.environment, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def forget(server: KubernetesServer, name: str) -> None:
    """Take a ModelVersion away that nobody looks after, if it is still there."""
    with contextlib.suppress(ApiStatus):
        server.request("PATCH", f"{MODEL_VERSIONS}/{name}", {"metadata": {"finalizers": None}}, kind=MERGE)
        server.send("DELETE", f"{MODEL_VERSIONS}/{name}")


def test_manifests_are_taken_by_the_api_server(server: KubernetesServer, release: Helm) -> None:
    """The CRD's own rules are CEL, which only an API server judges."""
    release.run("install", "penstock", CHART, "--create-namespace")
    document = model_version()
    assert server.request("POST", f"{MODEL_VERSIONS}?dryRun=All", document)["spec"]["rollout"]["strategy"] == "manual"
    document["spec"]["rollout"]["steps"] = [50, 25, 100]
    with pytest.raises(ApiStatus, match="rising"):
        server.request("POST", f"{MODEL_VERSIONS}?dryRun=All", document)
    pasted = re.findall(r"<<END\n(apiVersion: penstock.dev/.*?)^END$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    path = f"{MODEL_VERSIONS}?dryRun=All&fieldValidation=Strict"
    taken = [server.request("POST", path, yaml.safe_load(text.replace("$digest", "1" * 64))) for text in pasted]
    assert [one["spec"]["rollout"]["strategy"] for one in taken] == ["immediate", "evidence", "evidence"]
    for each in yaml.safe_load_all((ROOT / "manifests/async-kafka.yaml").read_text()):
        path = f"{PATHS[each['kind']]}?dryRun=All&fieldValidation=Strict"
        assert server.request("POST", path, each)["metadata"]["name"] == each["metadata"]["name"]
