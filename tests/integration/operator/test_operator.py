"""The operator's program against a real API server: rollouts, kills at every call, two at once, the API server away."""

import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

Wait = Callable[..., Any]
FAST = {"strategy": "immediate"}


def two_versions(bed: Any) -> None:
    bed.add_version("flights-1", "1", **FAST)
    bed.wait_phase("flights-1", "Live")
    bed.add_version("flights-2", "2", **FAST)
    bed.wait_phase("flights-2", "Live")


def check_two_versions(bed: Any, wait: Wait) -> None:
    """Where every run with these two ends."""
    wait(lambda: bed.status("flights-1").get("reason") == "KeptForRollback", "the old version is kept")
    wait(lambda: bed.weights() == {"flights-1": 0, "flights-2": 100}, "the route says so")
    assert {one["metadata"]["name"] for one in bed.all("inferenceservices")} == {"flights", "flights-1", "flights-2"}
    conditions = {one["type"]: one["status"] for one in bed.status("flights-2")["conditions"]}
    assert conditions == {"Verified": "True", "Ready": "True", "Acknowledged": "True", "Live": "True"}


def check_field_managers(bed: Any) -> None:
    """Who has written what the operator makes is said by its field manager alone (docs/operations.md, GitOps)."""
    made = {"inferenceservices": ("flights", "flights-1", "flights-2"), "jobs": ("flights-1-verify", "flights-2-verify")}
    for plural, names in {**made, "configmaps": ("penstock-route-flights",)}.items():
        field = "f:data" if plural == "configmaps" else "f:spec"
        for name in names:
            fields = bed.get(plural, name)["metadata"]["managedFields"]
            assert {entry["manager"] for entry in fields if field in entry["fieldsV1"]} == {"penstock-operator"}, name


def test_a_rollout_and_the_way_back(bed: Any, wait: Wait) -> None:
    operator = bed.operator()
    two_versions(bed)
    check_two_versions(bed, wait)
    check_field_managers(bed)
    owners = bed.get("inferenceservices", "flights-2")["metadata"]["ownerReferences"]
    assert [owner["kind"] for owner in owners] == ["ModelVersion"]
    told = {event["involvedObject"]["name"]: event["message"] for event in bed.all("events")}
    assert set(told) == {"flights-1", "flights-2"}
    bed.annotate("flights-2", rollback="worse")
    wait(lambda: bed.weights() == {"flights-1": 100}, "rolled back")
    bed.wait_phase("flights-2", "RolledBack")
    wait(lambda: bed.get("inferenceservices", "flights-2") is None, "its pods go")
    operator.send_signal(signal.SIGTERM)
    assert operator.wait(20) == 0
    assert bed.get("leases", "penstock-operator")["spec"].get("holderIdentity", "") == ""


def test_a_manual_rollout_is_promoted_paused_and_resumed(bed: Any, wait: Wait) -> None:
    bed.operator()
    bed.add_version("flights-1", "1", **FAST)
    bed.wait_phase("flights-1", "Live")
    bed.add_version("flights-2", "2", strategy="manual", steps=[10, 50, 100], shadow={"fraction": 0.5})
    bed.wait_phase("flights-2", "Shadow")
    bed.annotate("flights-2", promote="10")
    wait(lambda: bed.weights() == {"flights-1": 90, "flights-2": 10}, "at 10")
    bed.annotate("flights-2", paused="true", promote="100")
    bed.wait_phase("flights-2", "Paused")
    bed.annotate("flights-2", paused=None)
    bed.wait_phase("flights-2", "Live")


def test_evidence_takes_a_bad_version_back_and_lets_a_good_one_on(bed: Any, wait: Wait) -> None:
    bed.operator()
    bed.add_version("flights-1", "1", **FAST)
    bed.wait_phase("flights-1", "Live")
    bed.failed["sha256:" + "2" * 64] = 300
    bed.add_version("flights-2", "2", steps=[10, 50, 100])
    bed.wait_phase("flights-2", "RolledBack")
    status = bed.status("flights-2")
    assert status["reason"] == "WorseThanMargin"
    assert re.search(r"3 % of flights-2's requests failed \([0-9,]+ of [0-9,]+\) against 0 % of flights-1's", status["message"])
    assert status["evidence"]["analysis"]["tests"]["errorRate"]["verdict"] == "harmful"
    wait(lambda: bed.weights() == {"flights-1": 100}, "its requests go back")
    bed.add_version("flights-3", "3", steps=[10, 50, 100])
    wait(lambda: bed.weights() == {"flights-1": 50, "flights-3": 50}, lambda: f"{bed.status('flights-3')}")


def test_models_of_several_namespaces_have_nothing_to_do_with_each_other(bed: Any, another_bed: Any, wait: Wait) -> None:
    """The same names in both: one's bad version goes, the other's good one comes Live."""
    bed.operator(f"--namespaces={bed.namespace},{another_bed.namespace}")
    another_bed.verdicts["sha256:" + "2" * 64] = "golden"
    for one in (bed, another_bed):
        one.add_version("flights-1", "1", **FAST)
    for one in (bed, another_bed):
        one.wait_phase("flights-1", "Live")
        one.add_version("flights-2", "2", **FAST)
    another_bed.wait_phase("flights-2", "Failed")
    bed.wait_phase("flights-2", "Live")
    check_two_versions(bed, wait)
    assert another_bed.weights() == {"flights-1": 100}
    assert another_bed.phase("flights-1") == "Live"


@pytest.mark.parametrize(
    "kind, reason", [("digest", "DigestDiffers"), ("memory", "OutOfMemory"), ("golden", "GoldenExamplesFailed")]
)
def test_a_bad_bundle_fails_by_name(bed: Any, kind: str, reason: str) -> None:
    bed.operator()
    bed.verdicts["sha256:" + "3" * 64] = kind
    bed.add_version("flights-3", "3", **FAST)
    bed.wait_phase("flights-3", "Failed")
    assert bed.status("flights-3")["reason"] == reason
    assert bed.weights() == {}


def test_a_version_joins_with_all_pods_that_it_asks_for(bed: Any, wait: Wait) -> None:
    bed.operator()
    bed.add_version("flights-1", "1", **FAST)
    bed.wait_phase("flights-1", "Live")
    bed.most_pods = 1
    bed.add_version("flights-2", "2", replicas={"min": 2, "max": 4}, **FAST)
    wait(lambda: bed.status("flights-2").get("message") == "1 of 2 pods are ready", "it waits, and says for what")
    ready = {one["type"]: one["status"] for one in bed.get("inferenceservices", "flights-2")["status"]["conditions"]}
    assert ready == {"Ready": "True"}
    assert bed.weights() == {"flights-1": 100}
    bed.most_pods = 2
    bed.wait_phase("flights-2", "Live")


def test_deleted_versions_leave_nothing(bed: Any, wait: Wait) -> None:
    bed.operator()
    two_versions(bed)
    for name in ("flights-2", "flights-1"):
        bed.server.request("DELETE", bed.path("modelversions", name))
        wait(lambda name=name: bed.get("modelversions", name) is None, f"{name} goes")
    wait(lambda: bed.all("inferenceservices") == [], "what was made for them goes")
    wait(lambda: bed.get("configmaps", "penstock-route-flights") is None, "the route goes")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_after_every_single_call(bed: Any) -> None:
    """Each operator changes one thing and dies; the next one sees what is there. Its identity stays, as a pod's name does.

    Kills along longer ways, roll-back and deletion included, are tried in memory (tests/unit/operator)."""
    bed.add_version("flights-1", "1", **FAST)
    kills = 0
    while bed.phase("flights-1") != "Live" or bed.weights() != {"flights-1": 100}:
        operator = bed.operator(failpoints="operator.called=kill@1")
        assert operator.wait(60) == -signal.SIGKILL
        kills += 1
    assert kills > 10
    bed.operator()
    bed.add_version("flights-2", "2", **FAST)
    bed.wait_phase("flights-2", "Live")


@pytest.mark.slow
def test_two_operators_of_which_the_leader_dies(bed: Any, wait: Wait) -> None:
    first = bed.operator(identity="one")
    wait(lambda: (bed.get("leases", "penstock-operator") or {}).get("spec", {}).get("holderIdentity") == "one", "one leads")
    bed.operator(identity="two")
    bed.add_version("flights-1", "1", **FAST)
    bed.wait_phase("flights-1", "Live")
    first.send_signal(signal.SIGSTOP)
    bed.add_version("flights-2", "2", **FAST)
    bed.wait_phase("flights-2", "Live")
    first.send_signal(signal.SIGCONT)
    check_two_versions(bed, wait)
    assert bed.get("leases", "penstock-operator")["spec"]["holderIdentity"] == "two"


def test_two_operators_that_both_act_do_no_harm(bed: Any, wait: Wait) -> None:
    """As if the lease had failed: what they write names what they saw."""
    bed.operator("--lease_name=one")
    bed.operator("--lease_name=two")
    two_versions(bed)
    check_two_versions(bed, wait)


@pytest.mark.slow
def test_the_api_server_goes_away_in_mid_rollout(bed: Any, wait: Wait) -> None:
    operator = bed.operator()
    bed.add_version("flights-1", "1", **FAST)
    bed.wait_phase("flights-1", "Live")
    bed.add_version("flights-2", "2", **FAST)
    bed.server.kill()
    bed.server.start()
    bed.wait_phase("flights-2", "Live")
    check_two_versions(bed, wait)
    assert operator.poll() is None
