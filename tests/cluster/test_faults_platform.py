"""What the cluster itself does wrong in the middle of a rollout, under load: the API server away, the kubelet stopped, the
network between operator and pods cut, nodes drained, credentials expired. No request fails; once the fault is over the rollout
ends as if it had not been, and where it is not over a condition names it.

The load runs beside the cluster: one inside would be a stream through the API server and the kubelet.
"""

import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bed import chart, cutting, daemons, own
from bed.cluster import chosen
from bed.disturbing import settle
from bed.flights import MODEL, RECORD, Flights
from bed.keys import NODE_NAME
from bed.trouble import BedError
from bed.underway import load_beside
from bed.versions import check_load, manifest, penstock_rollout, wait_for, wait_live

AWAY_S = 60.0
# Less than the node controller's patience (50 s), after which it calls every pod of the node unready.
STOPPED_S = 30.0
SILENT_S = 45.0
BACK_S = 120.0
ACCOUNTS = {"operator": (chart.NAMESPACE, "penstock-operator"), "transformer": ("", "penstock-transformer")}
KSERVE = ("--namespace=kserve", "rollout", "status", "deployment/kserve-controller-manager", "--timeout=5s")
BUDGETS = "templates/models/budgets.yaml"
_PODS = f"serving.kserve.io/inferenceservice={MODEL}"


@pytest.fixture
def half(served: Flights, next_bundle: Path, version: str) -> Iterator[str]:
    """A version that gets half of the requests, waits to be promoted, and in the end comes Live and is rolled back; none of the
    requests that run meanwhile may fail."""
    if served.cluster.kind != "own":
        pytest.skip("only our own cluster's daemons can be stopped: PENSTOCK_CLUSTER=own")
    settle(served)
    with load_beside(served, f"/predict/{RECORD}") as end:
        served.apply(manifest(version, next_bundle, replicas=2, strategy="manual", steps=[50, 100]))
        wait_for(served, version, "reason", "AwaitingPromotion")
        penstock_rollout(served, "promote", version, "--to", "50")
        wait_for(served, version, "weight", "50")
        yield version
        penstock_rollout(served, "promote", version, "--to", "100")
        wait_live(served, version)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        result = end()
    check_load(served, next_bundle, result)


def pause(seconds: float) -> None:
    """The fault itself lasts: nothing that could be waited for tells that a minute is over."""
    threading.Event().wait(seconds)


def wait_until(what: Callable[[], bool], within_s: float = BACK_S) -> None:
    """Ask again and again; AssertionError after `within_s`."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it did not come to be"
        pause(0.5)


@contextmanager
def stopped(daemon: str, seconds: float) -> Iterator[None]:
    """A daemon of the cluster is away so long and for what is done meanwhile, and then there again: the node has said so since,
    and KServe's webhook answers, without which no InferenceService can be changed."""
    daemons.stop(daemon)
    try:
        pause(seconds)
        yield
    finally:
        back = datetime.datetime.now(datetime.UTC)
        own.start(daemon)
        wait_until(lambda: own.is_up() and told_since(back))
        wait_until(lambda: chosen().succeeds(*KSERVE))


def told_since(moment: datetime.datetime) -> bool:
    """Whether the kubelet has told since then that it is alive."""
    lease = ("get", "lease", NODE_NAME, "--namespace=kube-node-lease", "--output=jsonpath={.spec.renewTime}")
    try:
        return datetime.datetime.fromisoformat(chosen().kubectl(*lease)) > moment
    except BedError:
        # An API server that has just begun answers before it is ready.
        return False


def incarnations(served: Flights, component: str) -> set[str]:
    """The pods of one of the model's components."""
    shown = served.kubectl(
        "get", "pods", f"--selector={_PODS},component={component}", "--output=jsonpath={.items[*].metadata.uid}"
    )
    return set(shown.split())


def test_the_api_server_away_for_a_minute(served: Flights, half: str) -> None:
    with stopped("apiserver", AWAY_S):
        pass
    wait_for(served, half, "reason", "AwaitingPromotion")


def test_the_kubelet_stopped_for_a_while(served: Flights, half: str) -> None:
    """What the route says goes on without it: the version comes Live meanwhile."""
    with stopped("kubelet", STOPPED_S):
        penstock_rollout(served, "promote", half, "--to", "100")
        wait_live(served, half)


def test_the_operator_cut_off_from_the_pods(served: Flights, half: str) -> None:
    """All are silent, so it is the network: none is evicted, nothing is decided, and the condition says why."""
    before = incarnations(served, "transformer")
    with cutting.cut_operator_off(served):
        wait_for(served, half, "conditions[?(@.type=='Acknowledged')].reason", "TransformersSilent")
        penstock_rollout(served, "promote", half, "--to", "100")
        pause(SILENT_S)
        assert served.kubectl("get", "modelversion", half, "--output=jsonpath={.status.weight}") == "50"
    assert incarnations(served, "transformer") == before


@pytest.fixture
def four(served: Flights) -> Iterator[int]:
    """As many transformers: of two, one that is silent would be more than a third."""
    scale_transformers(served, 4)
    yield 4
    scale_transformers(served, 2)
    # Without a metrics API KServe's autoscaler takes none back.
    served.kubectl("scale", f"deployment/{MODEL}-transformer", "--replicas=2")
    wait_until(lambda: len(names(served, MODEL, "transformer")) == 2)


def scale_transformers(served: Flights, count: int) -> None:
    patch = json.dumps({"spec": {"transformer": {"minReplicas": count}}})
    served.kubectl("patch", "inferenceservice", MODEL, "--type=merge", f"--patch={patch}")
    wait_until(lambda: len(names(served, MODEL, "transformer")) >= count)
    served.kubectl("rollout", "status", f"deployment/{MODEL}-transformer", "--timeout=180s", timeout_s=200)


def test_one_of_four_pods_out_of_the_operators_reach_is_evicted(served: Flights, four: int, half: str) -> None:
    """Through the eviction API, and no other; the pod that comes in its place is asked, and the rollout goes on."""
    before = incarnations(served, "transformer")
    assert len(before) >= four
    with cutting.cut_operator_off(served, one_of="transformer"):
        wait_until(lambda: len(before - incarnations(served, "transformer")) == 1)
        served.kubectl("rollout", "status", f"deployment/{MODEL}-transformer", "--timeout=180s", timeout_s=200)
    wait_for(served, half, "conditions[?(@.type=='Acknowledged')].reason", "Acknowledged")
    assert len(before - incarnations(served, "transformer")) == 1


def evict(served: Flights, pod: str) -> None:
    """Through the eviction API, as `kubectl drain` does. Raises BedError where a budget refuses it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": served.namespace}}
    path = f"/api/v1/namespaces/{served.namespace}/pods/{pod}/eviction"
    served.cluster.kubectl("create", "--raw", path, "--filename=-", text=json.dumps(body))


def names(served: Flights, service: str, component: str) -> list[str]:
    """Pods of a component of an InferenceService that are not on their way out."""
    selector = f"--selector=serving.kserve.io/inferenceservice={service},component={component}"
    pods = json.loads(served.kubectl("get", "pods", selector, "--output=json"))["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def test_a_node_drained_pod_by_pod(served: Flights, half: str) -> None:
    """The only node is cordoned, so that an evicted pod has no place: the budget then keeps the next one."""
    budgets = chart.render(served.cluster, BUDGETS, models=[{"name": MODEL, "namespace": served.namespace}])
    served.kubectl("apply", "--filename=-", text=budgets)
    wait_until(lambda: budgets.count("kind: PodDisruptionBudget") == known_budgets(served))
    try:
        for service, component in ((MODEL, "transformer"), (MODEL, "predictor"), (half, "predictor")):
            first, second = names(served, service, component)
            served.cluster.kubectl("cordon", NODE_NAME)
            try:
                evict(served, first)
                with pytest.raises(BedError, match="disruption budget"):
                    evict(served, second)
            finally:
                served.cluster.kubectl("uncordon", NODE_NAME)
            served.kubectl("rollout", "status", f"deployment/{service}-{component}", "--timeout=180s", timeout_s=200)
            evict(served, second)
            served.kubectl("rollout", "status", f"deployment/{service}-{component}", "--timeout=180s", timeout_s=200)
    finally:
        served.kubectl("delete", "--filename=-", text=budgets)


def known_budgets(served: Flights) -> int:
    """How many budgets their controller has counted pods for: before that it refuses every eviction."""
    budgets = json.loads(served.kubectl("get", "poddisruptionbudgets", "--output=json"))["items"]
    return sum(one.get("status", {}).get("disruptionsAllowed", 0) > 0 for one in budgets)


def expire(served: Flights, component: str) -> None:
    """A service account that is made anew does not honour the tokens of the one before: 401 to all who still have one."""
    namespace, name = ACCOUNTS[component]
    place = ("--namespace", namespace or served.namespace)
    account = json.loads(served.cluster.kubectl(*place, "get", "serviceaccount", name, "--output=json"))
    for field in ("uid", "resourceVersion", "creationTimestamp"):
        del account["metadata"][field]
    served.cluster.kubectl(*place, "delete", "serviceaccount", name)
    served.cluster.kubectl(*place, "create", "--filename=-", text=json.dumps(account))


def test_the_operators_credentials_expired(served: Flights, half: str) -> None:
    """It can neither read nor write, and says so by its readiness; with a token of its own again it goes on."""
    expire(served, "operator")
    place = ("--namespace", chart.NAMESPACE)
    ready = "--output=jsonpath={.status.readyReplicas}"
    wait_until(lambda: served.cluster.kubectl(*place, "get", "deployment", "penstock-operator", ready) in ("", "0"))
    penstock_rollout(served, "promote", half, "--to", "100")
    served.cluster.kubectl(*place, "rollout", "restart", "deployment/penstock-operator")
    served.cluster.kubectl(*place, "rollout", "status", "deployment/penstock-operator", "--timeout=120s")


def test_the_transformers_credentials_expired(served: Flights, half: str) -> None:
    """They cannot read the next route and go on with the one they have: nothing is decided over them, and the condition says in
    the end that they hear of no route. Pods that are made anew have a token that counts."""
    expire(served, "transformer")
    # A watch that is open goes on: whoever opened it was known then.
    with stopped("apiserver", 0):
        pass
    penstock_rollout(served, "promote", half, "--to", "100")
    wait_for(served, half, "conditions[?(@.type=='Acknowledged')].reason", "TransformersSilent")
    patch = json.dumps({"spec": {"transformer": {"annotations": {"penstock.dev/test-token": half}}}})
    # KServe's controller, whose webhook is asked, ends when it loses the API server, and is back when the kubelet lets it.
    annotate = ("--namespace", served.namespace, "patch", "inferenceservice", MODEL, "--type=merge", f"--patch={patch}")
    wait_until(lambda: served.cluster.succeeds(*annotate))
    wait_live(served, half)
