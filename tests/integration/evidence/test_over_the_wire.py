"""Evidence as its reader gets it: real predictors, a route with two bundles and a shadow, and transformers that are killed."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml

from penstock.bundle.manifest import PostprocessSpec
from penstock.dataplane import TensorMetadata
from penstock.evidence.document import Evidence, read_evidence
from penstock.evidence.ledger import Ledger
from penstock.testing.bundles import write_bundle
from penstock.testing.models import mlp
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until

pytestmark = pytest.mark.timeout(300)
FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: b, from: request, type: float32, missing: {default: 2}, encode: passthrough}
  - {name: carrier, from: request, type: string, missing: {default: AA}, encode: {ordinal: {categories: [AA, UA], unseen: 0}}}
tensors: {x: [a, b, carrier]}
"""
PROFILE = {
    "formatVersion": 1,
    "rows": 100,
    "features": {
        "a": {"type": "float32", "missing": 0.0, "edges": [0.0, 5.0, 10.0], "counts": [50, 50]},
        "carrier": {"type": "string", "missing": 0.0, "values": {"AA": 60, "UA": 40}, "distinct": 2},
    },
    "predictions": {
        "labels": {"values": {"on time": 80, "late": 20}, "distinct": 2},
        "scores": {"late": {"count": 100, "std": 0.2, "edges": [0.0, 0.25, 0.5, 1.0], "counts": [50, 30, 20]}},
    },
}
VERSIONS = ("1", "2", "3")
REQUESTS = 40


class System:
    """Three predictors of a version each, and the file of a route between them."""

    def __init__(self, folder: Path) -> None:
        self.route = folder / "route.yaml"
        self.digests: dict[str, str] = {}
        self.predictors: dict[str, ServerProcess] = {}
        for at, version in enumerate(VERSIONS):
            place = folder / version
            self.digests[version] = write_bundle(
                place,
                mlp((3, 4, 2), seed=at),
                FEATURES,
                version=version,
                outputs=(TensorMetadata("y", "FP32", (-1, 2)),),
                postprocess=PostprocessSpec("classification", "y", labels=("on time", "late"), activation="softmax"),
                files={"profile.json": json.dumps(PROFILE).encode()},
            )
            options = ("--model_name", "flights", "--model_dir", str(place), "--profile_s", "0", "--drain_delay_s", "0")
            self.predictors[version] = ServerProcess("penstock_predictor", *options).start()
        for predictor in self.predictors.values():
            predictor.wait_ready()

    def write_route(self, revision: int) -> None:
        def entry(version: str, **given: Any) -> dict[str, Any]:
            return {"digest": self.digests[version], "predictor": self.predictors[version].url, **given}

        bundles = [entry("1", weight=50), entry("2", weight=50), entry("3", mode="shadow", fraction=1.0)]
        new = self.route.with_suffix(".new")
        new.write_text(yaml.safe_dump({"formatVersion": 1, "revision": revision, "model": "flights", "bundles": bundles}))
        new.replace(self.route)

    def transformer(self, *options: str) -> ServerProcess:
        common = ("--model_name", "flights", "--route_file", str(self.route), "--route_poll_s", "0.05", "--drain_delay_s", "0")
        return ServerProcess("penstock_transformer", *common, *options)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("evidence"))
    try:
        yield made
    finally:
        for predictor in made.predictors.values():
            predictor.stop()


def send(server: ServerProcess, count: int = REQUESTS) -> dict[str, int]:
    """So many requests of as many callers, a tenth of which the encoder refuses; how many each bundle answered."""
    answered: dict[str, int] = {}
    with httpx.Client(timeout=60) as client:
        for at in range(count):
            row = {"a": None if at % 10 == 0 else at % 9, "carrier": ("AA", "UA", "DL")[at % 3]}
            sent = client.post(
                f"{server.url}/models/flights/predict", json={"rows": [row]}, headers={"Penstock-Route-Key": f"caller {at}"}
            )
            assert sent.status_code == (400 if at % 10 == 0 else 200), sent.text
            label = sent.headers["penstock-bundle"].rpartition("@")[2]
            answered[label] = answered.get(label, 0) + 1
    return answered


def look(server: ServerProcess) -> Evidence:
    return read_evidence(httpx.get(f"{server.admin_url}/evidence", timeout=60).raise_for_status().content)


def shadowed(evidence: Evidence) -> int:
    return sum(e.paired.requests for process in evidence.processes for e in process.entries if e.paired is not None)


def settled(server: ServerProcess, pairs: int) -> Evidence:
    """A look at it once the shadow has answered so many copies."""
    until(lambda: shadowed(look(server)) == pairs, 60, "copies answered")
    return look(server)


def test_two_bundles_and_a_shadow_are_counted(system: System) -> None:
    system.write_route(1)
    with system.transformer() as server:
        answered = send(server)
        evidence = settled(server, REQUESTS)
        metrics = httpx.get(f"{server.admin_url}/metrics", timeout=60).text
        named = {"Penstock-Expect-Bundle": system.digests["1"]}
        httpx.post(
            f"{server.url}/models/flights/predict", json={"rows": [{"a": 1}]}, headers=named, timeout=60
        ).raise_for_status()
        after = look(server)
    (process,) = evidence.processes
    assert (evidence.model, process.age_s > 0) == ("flights", True)
    assert (evidence.route["revision"], evidence.route["applied"]) == (1, list(system.digests.values()))
    entries = {(entry.bundle, entry.shadow): entry for entry in process.entries}
    assert {digest: entries[digest, False].requests for digest in answered} == answered
    live = [entries[system.digests[version], False] for version in ("1", "2")]
    assert sum(entry.errors.get("invalid_input", 0) for entry in live) == REQUESTS // 10
    assert sum(entry.failed_keys.get("invalid_input", 0) for entry in live) == REQUESTS // 10
    assert sum(entry.keys for entry in live) == sum(entry.rows for entry in live) == REQUESTS
    good = REQUESTS - REQUESTS // 10
    assert sum(n for entry in live for _, n in entry.latency.request) == good
    for name in ("label", "scores.late"):
        assert sum(sum(entry.outputs[name].counts) for entry in live) == good
        # Bundles of one route are counted in one and the same bins.
        assert len({entry.outputs[name].bins for entry in process.entries}) == 1
    features = live[0].features
    assert features["carrier"].bins.values == ("AA", "UA")
    assert 0 < sum(features["a"].counts) == sum(features["carrier"].counts) <= good
    shadow = entries[system.digests["3"], True]
    assert (shadow.requests, shadow.revision) == (REQUESTS, 1)
    paired = shadow.paired
    assert paired is not None
    assert (paired.requests, paired.agreeing + paired.differing, paired.both_failed) == (REQUESTS, good, REQUESTS // 10)
    assert sum(n for _, n in paired.score_differences) == sum(n for _, n in paired.latency_ratios) == good
    # A request that names its bundle is nobody's evidence.
    assert {e.key: e.requests for e in after.processes[0].entries} == {e.key: e.requests for e in process.entries}
    line = f'penstock_evidence_requests_total{{bundle="flights@{system.digests["3"]}",mode="shadow",model="flights"}}'
    assert f"{line} {float(REQUESTS)}" in metrics


def test_a_reader_of_killed_and_restarted_transformers_counts_nothing_twice(system: System) -> None:
    system.write_route(2)
    ledger, sent = Ledger(), 0
    for _ in range(2):
        server = system.transformer().start().wait_ready()
        try:
            send(server)
            ledger.take([settled(server, REQUESTS)], young_s=0)
            # Answered after the last look at it, and so lost with it: never counted, and never twice.
            send(server, 10)
            sent += REQUESTS
        finally:
            os.kill(server.pid, signal.SIGKILL)
            server.stop()
    with system.transformer("--workers", "2") as server:
        send(server)
        assert look(server).route["revision"] == 2
        for _ in range(3):
            ledger = json_again(ledger)
            ledger.take([settled(server, REQUESTS)], young_s=0)
        sent += REQUESTS
    live = [entry for version in ("1", "2") for entry in ledger.entries(system.digests[version])]
    (shadow,) = ledger.entries(system.digests["3"], shadow=True)
    assert (sum(entry.requests for entry in live), shadow.requests) == (sent, sent)
    assert shadow.paired is not None
    # Of the last one each worker tells its own.
    assert (shadow.paired.requests, len(ledger.known), ledger.doubted) == (sent, 4, 0)


def json_again(ledger: Ledger) -> Ledger:
    """The reader dies, and another reads what it kept."""
    return msgspec.json.decode(msgspec.json.encode(ledger), type=Ledger)
