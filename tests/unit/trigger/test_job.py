"""The Job that is made of a template."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from penstock_transformer.feedback.trigger.bounds import JobTemplate
from penstock_transformer.feedback.trigger.job import job_of, label_of, literal, progress_of

Make = Callable[..., Any]


def template() -> JobTemplate:
    containers = [{"name": "train", "image": "me/train:1", "env": [{"name": "MINE", "value": "$(PENSTOCK_RETRAIN_MODEL)"}]}]
    spec = {"template": {"spec": {"containers": containers, "initContainers": [{"name": "fetch", "image": "me/fetch:1"}]}}}
    metadata = {"generateName": "retrain-", "labels": {"team": "air"}}
    return JobTemplate({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})


def test_every_container_is_told_before_its_own_variables(watch: Make, retraining: Make) -> None:
    given, one = template(), retraining()
    job = job_of(watch(), given, one, "ml")
    assert job["metadata"]["name"] == one.id
    assert job["metadata"]["namespace"] == "ml"
    assert job["metadata"]["labels"] == {"team": "air", "penstock.dev/retrain": "flights"}
    assert "generateName" not in job["metadata"]
    pod = job["spec"]["template"]
    assert pod["metadata"]["labels"] == {"penstock.dev/retrain": "flights"}
    for container in (*pod["spec"]["containers"], *pod["spec"]["initContainers"]):
        told = {one["name"]: one["value"] for one in container["env"]}
        assert told["PENSTOCK_RETRAIN_SINCE"] == "1970-01-01T01:00:00Z"
        assert orjson.loads(told["PENSTOCK_RETRAIN_EVENT"])["id"] == one.id
    assert [one["name"] for one in pod["spec"]["containers"][0]["env"]][-1] == "MINE"
    # What the user wrote is left as it was.
    assert given == template()


def test_a_dollar_of_ours_is_never_a_variable_of_kubernetes() -> None:
    assert literal("$(HOME) costs $5") == "$$(HOME) costs $$5"


@pytest.mark.parametrize("model", ["flights", "a.b_c-1", "Flights"])
def test_a_name_that_may_be_a_label_is_one(model: str) -> None:
    assert label_of(model) == model


@pytest.mark.parametrize("model", ["flüge", "a b", "-x", "x" * 64, "a/b"])
def test_a_name_that_may_not_be_a_label_is_a_digest(model: str) -> None:
    assert len(label_of(model)) == 32


def test_how_far_a_job_is() -> None:
    assert progress_of({}) == "running"
    assert progress_of({"metadata": {"deletionTimestamp": "2026-01-31T12:00:00Z"}}) == "removed"
    for kind, expected in (("Complete", "succeeded"), ("Failed", "failed"), ("Suspended", "running")):
        assert progress_of({"status": {"conditions": [{"type": kind, "status": "True"}]}}) == expected
