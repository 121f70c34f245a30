"""The chart upgraded under REST, gRPC and Kafka, in the middle of a rollout, and back again; and from the release before, and
back to it: no request fails, and every answer is by the bundle that it names.

What a release changes is its images' tag and its templates: the images here are the same ones under another tag, so that
everything that an upgrade replaces is replaced.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import chart as penstock_chart
from bed import flights as example
from bed.broker import WORKER, kafka_with_worker
from bed.cluster import Cluster
from bed.flights import MODEL, RECORD, Flights
from bed.places import ROOT
from bed.serving import REPLACED_S, await_pods, serve
from bed.traffic import traffic
from bed.underway import load
from bed.variants import Variant, own_variant
from bed.versions import check_load, manifest, penstock_rollout, wait_for, wait_live

RELEASE_BEFORE = ROOT / "tests" / "unit" / "chart" / "releases" / "0.1.0"
_IMAGE = "jsonpath={.spec.template.spec.containers[0].image}"
_ASK = f"""
import json, sys, urllib.request
answer = urllib.request.urlopen(f"http://{{sys.argv[1]}}/predict/{RECORD}", timeout=30)
print(list(json.load(answer)["predictions"][0]["scores"].values())[-1])
"""


@pytest.fixture
def next_tag(cluster: Cluster, own_images: dict[str, str]) -> str:
    """A tag under which our images are in the cluster, too."""
    tag = f"{next(iter(own_images.values())).rpartition(':')[2]}-next"
    for name in own_images.values():
        cluster.load_as(name, f"{name.rpartition(':')[0]}:{tag}")
    return tag


@pytest.fixture
def as_before(chart: Cluster) -> Iterator[int]:
    """The chart's revision, to which it is rolled back after the test, wherever that ended."""
    revision = penstock_chart.revision(chart)
    yield revision
    penstock_chart.roll_back(chart, revision)


@pytest.fixture
def release_before(served: Flights) -> Iterator[Flights]:
    """The example in a cluster whose chart is the release before, served as it was then; all is as it was after the test."""
    cluster = served.cluster
    place = ("--namespace", penstock_chart.NAMESPACE)
    namespaces = json.dumps(sorted(penstock_chart.admitted(cluster)))
    cluster.helm("uninstall", penstock_chart.RELEASE, *place, "--wait")
    cluster.helm("install", penstock_chart.RELEASE, RELEASE_BEFORE, *place, "--wait")
    try:
        serve(served, of_the_release_before(), "before")
        yield served
    finally:
        penstock_chart.install(cluster, f"--set-json=transformer.namespaces={namespaces}")
        serve(served, example.inference_service(), "after")


def of_the_release_before() -> dict[str, Any]:
    """The example's InferenceService as it was then: another name of the runtime, no account and no labels."""
    document = example.inference_service()
    predictor, transformer = document["spec"]["predictor"], document["spec"]["transformer"]
    predictor["model"]["runtime"] = "penstock"
    for part in ("serviceAccountName", "labels"):
        del transformer[part]
    return document


def await_image(served: Flights, name: str, tag: str) -> None:
    """Until every pod of a Deployment has an image of this tag, and is ready."""
    image = served.kubectl("get", f"deployment/{name}", f"--output={_IMAGE}")
    wanted = f"{image.rpartition(':')[0]}:{tag}"
    what = f"--for={_IMAGE}={wanted}"
    served.kubectl("wait", what, f"deployment/{name}", f"--timeout={REPLACED_S}s", timeout_s=REPLACED_S + 10)
    served.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={REPLACED_S}s", timeout_s=REPLACED_S + 10)


def set_transformer_image(served: Flights, tag: str) -> None:
    """What the guide says to do after the chart, for transformers and workers."""
    found = json.loads(served.kubectl("get", "inferenceservice", MODEL, "--output=json"))
    containers = found["spec"]["transformer"]["containers"]
    containers[0]["image"] = f"{containers[0]['image'].rpartition(':')[0]}:{tag}"
    patch = json.dumps({"spec": {"transformer": {"containers": containers}}})
    served.kubectl("patch", "inferenceservice", MODEL, "--type=merge", f"--patch={patch}")
    await_image(served, f"{MODEL}-transformer", tag)


def set_worker_image(served: Flights, tag: str) -> None:
    image = served.kubectl("get", f"deployment/{WORKER}", f"--output={_IMAGE}")
    served.kubectl("set", "image", f"deployment/{WORKER}", f"*={image.rpartition(':')[0]}:{tag}")
    await_image(served, WORKER, tag)


def test_no_request_fails_while_the_chart_is_upgraded_and_rolled_back(
    served: Flights, variants: list[Variant], version: str, next_tag: str, as_before: int
) -> None:
    cluster, new = served.cluster, variants[0]
    tag = next_tag.removesuffix("-next")
    with kafka_with_worker(served) as bootstrap:
        own = float(served.kubectl("exec", "filler", "--", "python3", "-c", _ASK, f"{MODEL}-transformer.{served.namespace}"))
        with traffic(served, bootstrap) as end:
            rollout = {"strategy": "manual", "steps": [50, 100]}
            served.apply(manifest(version, new.folder, uri=f"pvc://bundles/{new.name}", replicas=2, **rollout))
            wait_for(served, version, "reason", "AwaitingPromotion")
            penstock_rollout(served, "promote", version, "--to", "50")
            wait_for(served, version, "weight", "50")
            penstock_chart.upgrade(cluster, f"--set=image.tag={next_tag}")
            for name in (f"{MODEL}-predictor", f"{version}-predictor"):
                await_image(served, name, next_tag)
            set_transformer_image(served, next_tag)
            set_worker_image(served, next_tag)
            penstock_rollout(served, "promote", version, "--to", "100")
            wait_live(served, version)
            # And back, the other way round.
            set_worker_image(served, tag)
            set_transformer_image(served, tag)
            penstock_chart.roll_back(cluster, as_before)
            for name in (f"{MODEL}-predictor", f"{version}-predictor"):
                await_image(served, name, tag)
            penstock_rollout(served, "rollback", version)
            wait_for(served, version, "phase", "RolledBack")
            result = end()
    everyone = [own_variant(served), new]
    for name, way in result.items():
        print(f"{name}: {way.sent} sent, {len(way.failures)} failed, {len(way.lost)} lost, {len(way.doubled)} doubled")
    assert {name: way.failures for name, way in result.items() if way.failures} == {}
    assert {name: found for name, way in result.items() if (found := way.wrong(everyone, own))} == {}
    assert not result["kafka"].lost
    assert not result["kafka"].doubled
    for way in result.values():
        named = {answer.named for answer in way.answers}
        assert all({one.name, one.label} & named for one in everyone)


def await_probe(served: Flights, tries: int) -> None:
    """Until the predictor's pods are of the runtime whose liveness probe has so many tries: ours has other ones than the release
    before had, and goes by one of its names, too."""
    found = f"jsonpath={{.spec.template.spec.containers[0].livenessProbe.failureThreshold}}={tries}"
    served.kubectl("wait", f"--for={found}", f"deployment/{MODEL}-predictor", "--timeout=60s")
    await_pods(served)


def test_no_request_fails_while_the_release_before_is_upgraded_and_gone_back_to(
    release_before: Flights, next_bundle: Path, version: str
) -> None:
    """Its runtime is another then, under the old name and the new one; what was made of it is replaced. And back as
    docs/operations.md says: without what the release before does not know, then the chart."""
    served = release_before
    before = penstock_chart.revision(served.cluster)
    admitted = f"--set-json=transformer.namespaces={json.dumps([served.namespace])}"
    with load(served, f"/predict/{RECORD}") as end:
        penstock_chart.upgrade(served.cluster, admitted)
        await_probe(served, 6)
        serve(served, example.inference_service(), "now")
        penstock_chart.upgrade(served.cluster, "--set=predictor.previousNames=false")
        served.apply(manifest(version, next_bundle, strategy="immediate"))
        wait_live(served, version)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        # Without the operator nobody would take the finalizer off.
        served.kubectl("delete", "modelversion", version, "--timeout=120s")
        penstock_chart.upgrade(served.cluster, "--set=predictor.previousNames=true")
        serve(served, of_the_release_before(), "back")
        penstock_chart.roll_back(served.cluster, before)
        await_probe(served, 3)
        names = served.cluster.kubectl("get", "clusterservingruntimes", "--output=jsonpath={.items[*].metadata.name}").split()
        assert ("penstock" in names, "penstock-predictor" in names) == (True, False)
        result = end()
    check_load(served, next_bundle, result)
