"""`penstock rollout` against a real API server: what it says, what it writes, how it waits, and what it says of every fault."""

import json
import os
import pty
import re
import signal
import threading
from typing import Any

import pytest
import yaml
from kubernetes.config import incluster_config, kube_config

from penstock.errors import InvalidInput
from penstock_cli.rollout import cluster
from penstock_operator.route import route_document
from penstock_operator.seen import Entry, Seen

CONDITION = {"type": "Acknowledged", "status": "False", "reason": "WaitingForTransformers", "message": "2 of 3 pods"}
CONDITIONS = [CONDITION | {"lastTransitionTime": "2026-01-31T12:00:00Z"}]


def two(place: Any) -> None:
    """A version that is live, one on its way, and the route that says so."""
    place.version("flights-7")
    place.status("flights-7", "Live", 75, reason="Live")
    place.version("flights-8")
    place.status("flights-8", "Canary", 25, reason="AwaitingPromotion", message="annotation", conditions=CONDITIONS)
    entries = (Entry("sha256:" + "ab" * 32, "http://flights-8-predictor.x:80", 100.0, None, "flights-8"),)
    document = route_document(Seen(place.namespace, "flights", 0.0), 42, entries, made_service=False, acknowledged=0)
    place.server.request("POST", f"/api/v1/namespaces/{place.namespace}/configmaps", document)


def test_status_tells_the_story(place: Any) -> None:
    two(place)
    told = place.told("status", "flights")
    assert told.status == 0
    assert f"flights in {place.namespace}, route revision 42" in told.out
    assert "flights-8 answers 25 % of requests, flights-7 the others" in told.out
    assert re.search(r"flights-8 +Canary +25 % .*waits to be promoted", told.out)
    assert re.search(r"Acknowledged +no .*WaitingForTransformers: 2 of 3 pods", told.out)
    assert "penstock rollout promote flights-8    (to 50 %)" in told.out
    assert "\x1b" not in told.out
    assert not re.search(r" $", told.out, re.MULTILINE)
    # Nobody says how wide a pipe is: a line is not broken for it.
    long = "one of the transformers' pods does not know the bundle's digest, which it has to before it is asked for it"
    place.status("flights-8", "Canary", 25, reason="WaitingForTransformers", message=long)
    assert f"WaitingForTransformers: {long}" in place.told("status", "flights").out
    place.status("flights-8", "Canary", 25, reason="AwaitingPromotion", message="annotation")
    assert place.told("status").out == place.told("status", "flights-8").out
    assert "flights-7  manual" in place.told("status", "flights-7").out


def test_status_as_json(place: Any) -> None:
    two(place)
    (model,) = json.loads(place.told("status", "-o", "json").out)["models"]
    assert (model["model"], model["namespace"], model["routeRevision"]) == ("flights", place.namespace, 42)
    assert (model["candidate"], model["live"], model["ownWeight"]) == ("flights-8", "flights-7", None)
    assert [one["name"] for one in model["versions"]] == ["flights-8", "flights-7"]
    new = model["versions"][0]
    assert (new["phase"], new["weight"], new["steps"], new["paused"]) == ("Canary", 25, [5, 25, 50, 100], False)
    assert new["conditions"][0]["message"] == "2 of 3 pods"


def test_what_is_written_for_the_operator(place: Any) -> None:
    two(place)
    for arguments, said, annotations in (
        (("pause", "flights"), "takes no further step", {"paused": "true"}),
        (("pause", "flights-8"), "is paused already", {"paused": "true"}),
        (("promote", "flights"), "may go to 50 %", {"paused": "true", "promote": "50"}),
        (("resume", "flights"), "goes on", {"promote": "50"}),
        (("promote", "flights", "--to", "100"), "may go to 100 %", {"promote": "100"}),
        (("rollback", "flights", "--reason", "too slow"), "gives its requests back", {"promote": "100", "rollback": "too slow"}),
        (("rollback", "flights-8"), "is rolled back already (too slow)", {"promote": "100", "rollback": "too slow"}),
    ):
        told = place.told(*arguments)
        assert told.status == 0, told.err
        assert said in told.out
        found = {name.removeprefix("penstock.dev/"): value for name, value in place.annotations("flights-8").items()}
        assert found == annotations, arguments
    # Now nothing is on its way, and what is live has to be named.
    refused = place.told("rollback", "flights")
    assert refused.status == 1
    assert "no version of flights is on its way; name the version that is meant: flights-8, flights-7" in refused.err
    assert place.annotations("flights-7") == {}


def test_an_operator_that_writes_at_the_same_time_loses_nothing(place: Any) -> None:
    """Statuses are written as fast as it goes, while a version is paused and resumed: each is written on what was seen."""
    place.version("flights-8")
    place.status("flights-8", "Canary", 5)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            place.status("flights-8", "Canary", 5, message=str(number % 7))

    operator = threading.Thread(target=write)
    operator.start()
    try:
        ended = [place.told(word, "flights-8") for _ in range(5) for word in ("pause", "resume")]
    finally:
        stop.set()
        operator.join()
    done = [one for one in ended if one.status == 0]
    assert done
    for one in ended:
        assert one.status == 0 or "the object has been modified" in one.err


@pytest.mark.parametrize(
    "stage, weight, status, said",
    [("Live", 100, 0, ""), ("Failed", 0, 3, "flights-8 is not Live: it will not."), ("Canary", 50, 4, "the time is over")],
)
def test_a_script_waits(place: Any, stage: str, weight: int, status: int, said: str) -> None:
    place.version("flights-8")
    place.status("flights-8", "Verifying")
    timeout = "2s" if status == 4 else "60s"
    with place.running("status", "flights", "--wait", "live", "--timeout", timeout) as waiting:
        # It has said where it stands: now it follows.
        assert "Verifying" in waiting.stderr.readline()
        place.status("flights-8", stage, weight)
        out, err = waiting.communicate(timeout=60)
        assert waiting.returncode == status
    assert re.search(rf"{stage}  {weight} %", err)
    assert said in err
    assert re.search(rf"flights-8 +{stage}", out)


def test_a_wait_for_what_is_deleted_ends(place: Any) -> None:
    place.version("flights-8")
    with place.running("status", "flights-8", "--wait", "Live", "-o", "json") as waiting:
        place.remove("flights-8")
        out, err = waiting.communicate(timeout=60)
        assert waiting.returncode in (1, 3)
    assert "flights-8" in err
    assert out == "" or json.loads(out) == {"models": []}


def test_watching_in_a_pipe_is_a_line_for_each_change(place: Any) -> None:
    place.version("flights-8")
    with place.running("status", "--watch") as watching:
        assert "flights-8  Pending  0 %  the operator has not seen it yet" in watching.stdout.readline()
        place.status("flights-8", "Verifying")
        assert "flights-8  Verifying  0 %" in watching.stdout.readline()
        place.version("faults-1", model="faults")
        assert "faults-1  Pending" in watching.stdout.readline()
        place.remove("flights-8")
        assert "flights-8  is gone" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=60) == 130
    with place.running("status", "--watch", "-o", "json", "--timeout", "2s") as watching:
        assert json.loads(watching.stdout.readline())["models"][0]["model"] == "faults"
        assert watching.wait(timeout=60) == 0


def test_watching_on_a_terminal_draws_in_place(place: Any) -> None:
    two(place)
    ours, theirs = pty.openpty()
    with place.running("status", "flights", "--watch", "--wait", "Live", stdin=theirs, stdout=theirs, stderr=theirs) as watching:
        os.close(theirs)
        seen = read_until(ours, "25 %")
        place.status("flights-8", "Live", 100, reason="Live")
        seen += read_until(ours, "flights-8 answers all requests")
        assert watching.wait(timeout=60) == 0
    os.close(ours)
    # In place: the cursor goes up over what was drawn, and nothing is cleared.
    assert "\x1b[1A" in seen
    assert "\x1b[2J" not in seen


def read_until(terminal: int, text: str) -> str:
    seen = b""
    while text.encode() not in seen:
        seen += os.read(terminal, 65536)
    return seen.decode(errors="replace")


def test_a_watch_outlives_the_api_server(place: Any) -> None:
    place.version("flights-8")
    with place.running("status", "flights", "--watch") as watching:
        assert "Pending" in watching.stdout.readline()
        place.server.kill()
        try:
            assert "the API server does not answer" in watching.stdout.readline()
        finally:
            place.server.start()
        place.status("flights-8", "Live", 100)
        lines = watching.stdout.readline() + watching.stdout.readline()
        while "Live" not in lines:
            lines += watching.stdout.readline()
        assert "the API server is back" in lines


def test_what_goes_wrong_is_said(place: Any, kubernetes: Any) -> None:
    two(place)
    account = kubernetes.account(place.namespace, "nobody", [])
    reader = kubernetes.account(
        place.namespace, "reader", [{"apiGroups": ["penstock.dev"], "resources": ["modelversions"], "verbs": ["list"]}]
    )
    for config, arguments, words in (
        (place.config("wrong"), ("status",), "does not know who asks"),
        (place.config((account / "token").read_text()), ("status",), "cannot list resource"),
        (place.config((reader / "token").read_text()), ("pause", "flights"), "cannot patch resource"),
        (place.config(kubernetes.admin_token, "https://127.0.0.1:1"), ("status",), "the API server does not answer"),
        (place.config(kubernetes.admin_token, kubernetes.etcd.url), ("status",), "no ModelVersions"),
        ("", ("status",), "kubeconfig: "),
        ("a: [", ("status",), "kubeconfig: "),
        ("[]", ("status",), "kubeconfig: "),
        ("contexts: [{}]", ("status",), "kubeconfig: "),
        (place.config(kubernetes.admin_token), ("status", "--context", "nowhere"), "nowhere"),
        (place.config(kubernetes.admin_token), ("status", "flight"), "expected one of the models flights"),
        (place.config(kubernetes.admin_token), ("status", "flights", "--context", "elsewhere"), "another --namespace"),
        (place.config(kubernetes.admin_token), ("promote", "flights", "--to", "30"), "--to: expected one of its steps"),
    ):
        place.kubeconfig.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        told = place.told(*arguments)
        assert told.status == 1, (arguments, told)
        assert words in told.err, (arguments, told.err)
        assert "Traceback" not in told.err
    # Who may only list is shown what there is, without the route.
    place.kubeconfig.write_text(yaml.safe_dump(place.config((reader / "token").read_text())))
    assert "flights-8 answers 25 %" in place.told("status").out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("status", "--wait", "Live"), "--wait needs the NAME"),
        (("status", "flights", "--timeout", "5m"), "--timeout needs --wait or --watch"),
        (("status", "flights", "--wait", "Alive"), "expected one of Pending, Verifying"),
        (("status", "flights", "--watch", "--timeout", "soon"), "timeout"),
        (("promote", "flights", "--to", "0"), "1<=x<=100"),
        (("pause",), "Missing argument"),
        (("stop",), "there is no command 'stop'"),
    ],
)
def test_wrong_usage(place: Any, arguments: tuple[str, ...], words: str) -> None:
    told = place.told(*arguments)
    assert told.status == 2
    assert words in told.err


def test_all_namespaces_and_another_one(place: Any) -> None:
    two(place)
    assert place.told("status", "-n", "default").out.strip() == "No ModelVersions here."
    everywhere = json.loads(place.told("status", "-A", "-o", "json").out)["models"]
    assert place.namespace in {one["namespace"] for one in everywhere}


def test_in_a_pod_it_is_the_pods_own_cluster(place: Any, kubernetes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    two(place)
    rule = {"apiGroups": ["penstock.dev"], "resources": ["modelversions"], "verbs": ["list"]}
    mounted = kubernetes.account(place.namespace, "pod", [rule])
    monkeypatch.setattr(cluster, "_ACCOUNT", mounted)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(mounted / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(mounted / "ca.crt"))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(mounted / "none"))
    for name, value in kubernetes.environment.items():
        monkeypatch.setenv(name, value)
    found = cluster.open_cluster(None, None, None)
    assert found.namespace == place.namespace
    assert {one.name for one in found.versions()[0]} == {"flights-7", "flights-8"}
    with pytest.raises(InvalidInput) as caught:
        cluster.open_cluster(str(mounted / "none"), None, None)
    assert caught.value.field == "kubeconfig"
