"""Watch files: what they say, and which field is at fault."""

import pytest

from penstock.errors import InvalidInput
from penstock_transformer.feedback.trigger.bounds import Bound, JobTemplate, Webhook, read_watch

LEAST = b"model: flights\nwindow: 7d\nquality: {accuracy: {least: 0.7}}\n"
JOB = b"apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: [{name: train, image: me/train:1}]}}}\n"


def test_the_least_file_and_its_defaults() -> None:
    watch = read_watch(LEAST, "watch.yaml")
    assert (watch.model, watch.window_s, watch.every_s, watch.delay_s) == ("flights", 604800.0, 3600.0, 0.0)
    assert (watch.cool_down_s, watch.longest_s, watch.least_rows, watch.action) == (86400.0, 21600.0, 500, None)
    assert watch.quality == (Bound("accuracy", least=0.7),)


def test_a_whole_file() -> None:
    text = LEAST + (
        b"formatVersion: 1\nevery: 15m\ndelay: 12h\nleastRows: 50\ncoolDown: 2d\nlongest: 1h\n"
        b"drift: {features: 0.2, outputs: 0.1, ignore: [temp]}\nbundles: /bundles\nlog: pvc://log\n"
        b"action: {webhook: 'https://example.com/retrain', mode: binary}\n"
    )
    watch = read_watch(text, "watch.yaml")
    assert (watch.drift.features, watch.drift.outputs, watch.drift.ignore) == (0.2, 0.1, frozenset({"temp"}))
    assert watch.action == Webhook("https://example.com/retrain", "binary")
    assert (watch.delay_s, watch.log) == (43200.0, "pvc://log")


def test_a_template_is_read_from_beside_the_file() -> None:
    watch = read_watch(LEAST + b"action: {job: job.yaml, namespace: ml}\n", "watch.yaml", {"job.yaml": JOB}.__getitem__)
    assert isinstance(watch.action, JobTemplate)
    assert (watch.action.namespace, watch.action.document["kind"]) == ("ml", "Job")


@pytest.mark.parametrize(
    "text, field",
    [
        (b"model: flights\nwindow: 7d\n", "watch.yaml"),
        (b"model: flights\nquality: {accuracy: {least: 1}}\n", "window"),
        (LEAST.replace(b"7d", b"7"), "window"),
        (LEAST + b"evry: 1h\n", "evry"),
        (LEAST.replace(b"least", b"lest"), "quality.accuracy.lest"),
        (LEAST.replace(b"{least: 0.7}", b"{}"), "quality.accuracy"),
        (LEAST.replace(b"accuracy", b"acuracy"), "quality.acuracy"),
        (LEAST + b"drift: {features: 2}\nbundles: /b\n", "drift.features"),
        (LEAST + b"drift: {features: 0.2}\n", "bundles"),
        (LEAST + b"action: {}\n", "action"),
        (LEAST + b"action: {webhook: 'https://x', job: job.yaml}\n", "action"),
        (LEAST + b"action: {webhook: 'https://x', mode: loud}\n", "action.mode"),
        (LEAST + b"action: {job: pod.yaml}\n", "pod.yaml: kind"),
        (LEAST + b"action: {job: empty.yaml}\n", "empty.yaml: spec.template.spec.containers"),
    ],
)
def test_the_field_at_fault_is_named(text: bytes, field: str) -> None:
    files = {"pod.yaml": b"kind: Pod\n", "empty.yaml": JOB.replace(b"[{name: train, image: me/train:1}]", b"[]")}
    with pytest.raises(InvalidInput) as refused:
        read_watch(text, "watch.yaml", files.__getitem__)
    assert refused.value.field == field
