"""The README's Kubernetes section, pasted: every command as it stands, on a cluster with the flights example. Up to "Rollouts by
evidence" in one shell; that subsection in another one, since it takes as long as its requests take to decide.

    README.md --`bash` blocks of "On Kubernetes" (bed/readme.py)--> one bash, from the repository's root --> what each printed

Only two things differ from what a reader does: the cluster is up already (the section's first block is not run), and the ports of
this machine are the kernel's choice, since 8080 may be somebody else's.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import example, kafka, versions
from bed.cluster import Cluster
from bed.flights import MODEL, RECORD
from bed.places import ROOT
from bed.readme import read_section

from penstock.testing.servers import free_port

SECTION = read_section()
MARK = "=== next block"
LONGEST_S = 3600
MADE = (versions.NEXT, versions.BAD, "flights-10")
"""The section's ModelVersions."""


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster as `make cluster-up` leaves it, also where somebody has followed the README before."""
    _clear(cluster)
    example.install(cluster)
    yield cluster
    _clear(cluster)
    kafka.install(cluster, example.NAMESPACE, example.TOPICS)


def _clear(cluster: Cluster) -> None:
    """Everything that the section makes, and Kafka, whose topics would still hold what was predicted before."""
    gone = ("--namespace", example.NAMESPACE, "delete", "--ignore-not-found", "--timeout=120s")
    if cluster.succeeds("get", "crd", "modelversions.penstock.dev"):
        cluster.kubectl(*gone, "modelversion", *MADE)
    cluster.kubectl(*gone, "inferenceservice", MODEL)
    cluster.kubectl(*gone, f"deployment/{MODEL}-worker", f"pod/{kafka.NAME}")


def paste(cluster: Cluster, blocks: list[str]) -> list[str]:
    """What each block printed. All run in one shell, which ends at the first command that fails."""
    ports = {port: str(free_port()) for port in ("8080", "8081")}
    script = f"\necho '{MARK}'\n".join(re.sub(r"(127\.0\.0\.1:| )(808[01])(?=[/: ])", lambda m: m[1] + ports[m[2]], block)
                                       for block in blocks)  # fmt: skip
    environment = {**os.environ, **cluster.environment}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{_story(cluster)}"
    print(done.stdout)
    return done.stdout.split(f"{MARK}\n")


def _story(cluster: Cluster) -> str:
    """What the cluster shows of it, for whoever reads a failure."""
    shown = cluster.kubectl("--namespace", example.NAMESPACE, "get", "inferenceservices,modelversions,pods", "--output=wide")
    return shown + cluster.kubectl("--namespace", example.NAMESPACE, "get", "events", "--sort-by=.lastTimestamp")[-3000:]


def document_of(output: str) -> dict[str, Any]:
    """The JSON in it, which kubectl's own lines may stand beside."""
    begin = re.search(r"^\{", output, re.MULTILINE)
    assert begin is not None, output
    document: dict[str, Any] = json.JSONDecoder().raw_decode(output, begin.start())[0]
    return document


def bundle_of(head: str) -> str:
    """The digest that an answer's header names."""
    found = re.search(r"(?i)penstock-bundle: \S+@(sha256:[0-9a-f]{64})", head)
    assert found is not None, head
    return found[1]


@pytest.mark.timeout(LONGEST_S + 600)
def test_the_section_works_as_pasted(place: Cluster) -> None:
    _, rest, grpc, by_kafka, _, live, back = paste(place, SECTION.plain)
    prediction = document_of(rest)["predictions"][0]
    assert prediction["label"] == "late"
    assert document_of(grpc)["modelName"] == MODEL
    assert document_of(by_kafka)["predictions"][0]["scores"] == prediction["scores"]
    assert "flights-8" in live
    assert bundle_of(live) == _digest(place, versions.NEXT)
    assert bundle_of(back) == _digest(place, MODEL)
    assert RECORD in SECTION.plain[1]


@pytest.mark.timeout(LONGEST_S + 600)
def test_rollouts_by_evidence_work_as_pasted(place: Cluster) -> None:
    _, _, bad, good = paste(place, SECTION.evidence)
    # By `penstock rollout status` and by `kubectl describe`, which break lines where they like.
    assert " ".join(bad.split()).count("Rolled back: ") >= 2
    assert re.search(r"of\s+flights-9's\s+requests\s+failed", bad)
    assert "WorseThanMargin" in bad
    assert bundle_of(good) == _digest(place, versions.NEXT)


def _digest(cluster: Cluster, bundle: str) -> str:
    shown = cluster.kubectl(
        "--namespace", example.NAMESPACE, "exec", "filler", "--", "sha256sum", f"/mnt/models/{bundle}/bundle.yaml"
    )
    return f"sha256:{shown.split()[0]}"
