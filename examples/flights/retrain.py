"""Retrain the flight delay model on what was asked lately and what became of it: what a retrain trigger starts.

    event (which window of which log) -> rows with outcomes -> bundle -> held to the one that answers -> ModelVersion

It trains as train.py does, on the log's rows in place of the company's history: split by time, the encoder that serves, the
threshold on days that do not train. The bundle takes the feature store's layout from the one that answers now (`--base`).

The new bundle has to be better than the one that answered, on the last fifth of the window, which it has not seen: evidence from
live requests tells later whether it does harm, but without outcomes it cannot tell which of two answers is right. Names follow
from the window, so that whoever is asked twice makes the same bundle and the same ModelVersion.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from report import evaluate
from train import HERE, choose_threshold, convert, encode, fit, write_examples

from penstock.bundle.reading import Bundle, open_bundle
from penstock.features.document import write_document
from penstock.features.fitting import fit_spec
from penstock.features.reading import read_spec, write_spec
from penstock_cli.__main__ import main as penstock
from penstock_cli.bundle.verifying import verify
from penstock_cli.feedback.choosing import chosen_folder, moments
from penstock_cli.feedback.training_set import OUTCOME, TIME, WEIGHT, training_frame
from penstock_cli.replay_against import replay_against
from penstock_transformer.feedback.quality import Quality

LATE = "late"
EVENT = "PENSTOCK_RETRAIN_EVENT"
TRAINING, THRESHOLD = 0.7, 0.8
"""Shares of the window's rows, by time: up to the first train, up to the second choose the threshold, the rest judge."""
MANAGER = "flights-retrain"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has its service account."""


def read_event(place: str | None) -> dict[str, Any]:
    """The data of the trigger's event, from a file, from stdin (`-`), or from the variable that a Job has it in."""
    text = os.environ.get(EVENT, "") if place is None else sys.stdin.read() if place == "-" else Path(place).read_text()
    if not text:
        raise SystemExit(f"expected --event FILE, or the event in {EVENT}")
    event: dict[str, Any] = json.loads(text)
    data: dict[str, Any] = event.get("data", event)
    return data


def name_of(event: dict[str, Any]) -> str:
    """The new version's name: the model's, and when the window ends."""
    return f"{event['model']}-{datetime.fromisoformat(event['window']['until']):%Y%m%d%H%M%S}"


def read_rows(log: Path, event: dict[str, Any], base: Bundle) -> pd.DataFrame:
    """The window's rows with outcomes; `late` is what became of them. Raises SystemExit for none."""
    assert base.features is not None
    since, until = moments(event["window"]["since"], event["window"]["until"])
    rows = training_frame(chosen_folder(log, event["model"]), base.features, since, until)
    if rows.empty:
        raise SystemExit(f"{log} has no row with an outcome in that window")
    rows[LATE] = [outcome == LATE or outcome == 1.0 for outcome in rows[OUTCOME]]
    return rows


def train(rows: pd.DataFrame, base: Bundle, version: str, folder: Path) -> dict[str, float]:
    """Write what a bundle is built of to `folder`; the figures on the last rows. Raises SystemExit for too few rows."""
    assert base.features is not None
    cuts = cuts_of(rows)
    late = rows[LATE].to_numpy().astype(bool)
    parts = [late[: cuts[0]], late[cuts[0] : cuts[1]], late[cuts[1] :]]
    if any(part.all() or not part.any() for part in parts):
        raise SystemExit(
            f"{len(rows)} rows with an outcome are too few: flights of both kinds are needed in each part of the time"
        )
    draft = read_spec((HERE / "features.draft.yaml").read_text(), draft=True)
    spec = replace(fit_spec(draft, rows[: cuts[0]]), store=base.features.store)
    x = encode(spec, rows)
    model = fit(x[: cuts[0]], parts[0], rows[WEIGHT].to_numpy()[: cuts[0]])
    scores = model.predict_proba(x)[:, 1].astype(np.float32)
    found = evaluate(scores[cuts[1] :], parts[2], choose_threshold(scores[cuts[0] : cuts[1]], parts[1]))
    (folder / "features.yaml").write_text(write_spec(spec))
    (folder / "model.onnx").write_bytes(convert(model, x.shape[1]))
    (folder / "bundle.draft.yaml").write_text(describe(base, version, rows, found.threshold, found.summary()))
    write_examples(spec, rows[: cuts[0]], folder / "examples.csv")
    return found.summary()


def cuts_of(rows: pd.DataFrame) -> list[int]:
    """Where training ends, and where judging begins: between two moments, never within a request."""
    times = rows[TIME].to_numpy()
    return [int(np.searchsorted(times, times[int(len(rows) * share)])) for share in (TRAINING, THRESHOLD)]


def split_s(rows: pd.DataFrame) -> float:
    """A moment between the last row that the model has seen and the first that judges it, seconds since 1970."""
    times, first = rows[TIME].to_numpy(), cuts_of(rows)[1]
    return float(times[first - 1] + times[first]) / 2


def describe(base: Bundle, version: str, rows: pd.DataFrame, threshold: float, figures: dict[str, Any]) -> str:
    """bundle.draft.yaml: the card of the bundle before, with what is new in it."""
    first, last = (datetime.fromtimestamp(float(rows[TIME].iloc[at]), UTC).date().isoformat() for at in (0, -1))
    data = f"{len(rows)} predictions of {first} to {last} whose outcome is known, out of the prediction log."
    spec = base.manifest.postprocess
    return write_document(
        {
            "name": base.manifest.name,
            "version": version,
            "postprocess": {"from": "probabilities", "kind": spec.kind, "labels": list(spec.labels), "threshold": threshold},
            "card": dict(base.manifest.card) | {"data": data, "evaluation": {"judged_on": "the last fifth", **figures}},
        }
    )


@dataclass(frozen=True)
class Judged:
    """Quality of the bundle before and of the new one, over rows that the new one has not seen, and the share of labels that are
    the same."""

    before: Quality
    after: Quality
    agreement: float

    def better(self) -> bool:
        """Whether the new one ranks flights better; where ranking says nothing, whether more of it is right."""
        if self.before.auc is not None and self.after.auc is not None:
            return self.after.auc > self.before.auc
        return (self.after.accuracy or 0.0) > (self.before.accuracy or 0.0)

    def margins(self) -> dict[str, float]:
        """How far its answers may be from those before: as far as they are on these rows, whose outcomes are for it, what chance
        may have hidden there, and the defaults more. Under the defaults alone it would be taken back for what it has learnt."""
        parts = [{one.low: one.rows / quality.rows for one in quality.calibration} for quality in (self.before, self.after)]
        scores = sum(abs(parts[0].get(low, 0.0) - parts[1].get(low, 0.0)) for low in parts[0] | parts[1]) / 2
        labels = 1.0 - self.agreement
        labels += 2.0 * (labels * self.agreement / max(self.before.rows, 1)) ** 0.5
        drift = max(labels, scores) + 0.15
        return {"disagreement": round(min(1.0, labels + 0.05), 3), "outputDrift": round(min(1.0, drift), 3)}


def judge(bundle: Path, base: Bundle, log: Path, event: dict[str, Any], from_s: float) -> Judged:
    """The new bundle beside the one before. Raises Failure if it cannot answer a logged request."""
    split = datetime.fromtimestamp(from_s, UTC).isoformat()
    against = replay_against(verify(bundle).bundle, log, event["model"], split, event["window"]["until"], None)
    for line in against.told():
        print(line)
    against.check(None)
    before = [one for one in against.before if one.bundle.endswith(base.digest)] or against.before
    return Judged(before[0], against.after[0], against.report.agreement or 0.0)


def model_version(
    name: str,
    event: dict[str, Any],
    bundle: Bundle,
    uri: str,
    inference_service: str,
    margins: dict[str, float],
    more: dict[str, Any],
) -> dict[str, Any]:
    """A ModelVersion that goes live by evidence, or back; `more` of its spec, its rollout and further margins among it."""
    given = more.get("rollout", {})
    rollout = {"strategy": "evidence", "shadow": {"fraction": 0.2, "minRequests": 500}, **given}
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": name, "annotations": {"penstock.dev/retraining": str(event.get("id", ""))}},
        "spec": {
            "inferenceService": inference_service,
            "bundle": {"uri": uri.format(name=name), "digest": bundle.digest},
            **more,
            "rollout": rollout | {"margins": margins | given.get("margins", {})},
        },
    }


def apply(document: dict[str, Any], namespace: str, kubeconfig: str | None) -> None:
    """Write the ModelVersion to the cluster by server-side apply: again, it changes nothing."""
    from kubernetes import client, config

    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        config.load_incluster_config()
    else:
        config.load_kube_config(kubeconfig)
    client.CustomObjectsApi().patch_namespaced_custom_object(
        "penstock.dev", "v1alpha1", namespace, "modelversions", document["metadata"]["name"], document,
        field_manager=MANAGER, force=True, _content_type="application/apply-patch+yaml",
    )  # fmt: skip


def own_namespace() -> str:
    """The pod's, as a Job has one; else kubectl's default."""
    file = ACCOUNT / "namespace"
    return file.read_text().strip() if file.exists() else "default"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--event", help=f"the trigger's event, a file or - for stdin; default: the variable {EVENT}")
    parser.add_argument("--log", type=Path, required=True, help="folder of the prediction log")
    parser.add_argument("--base", type=Path, required=True, help="the bundle that answers now, or a folder of bundles with it")
    parser.add_argument("--out", type=Path, required=True, help="folder to put the new bundle in, and its ModelVersion beside it")
    parser.add_argument("--uri", default="pvc://bundles/{name}", help="where the cluster finds it; {name} is the new version's")
    parser.add_argument("--inference-service", help="whose transformer callers reach; default: the model's name")
    parser.add_argument("--anyway", action="store_true", help="even if it is no better than the bundle that answers")
    parser.add_argument("--apply", action="store_true", help="apply the ModelVersion to the cluster")
    parser.add_argument(
        "--spec", type=json.loads, default={}, help='more of its spec, as JSON: {"rollout": {"steps": [50, 100]}}'
    )
    parser.add_argument("--namespace", default=own_namespace(), help="default: the pod's own, else default")
    parser.add_argument("--kubeconfig", help="default: the pod's own cluster, else as kubectl")
    arguments = parser.parse_args()

    event = read_event(arguments.event)
    base = base_of(arguments.base, event["digest"])
    name = name_of(event)
    rows = read_rows(arguments.log, event, base)
    out = arguments.out / name
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        print(f"{name}: {len(rows)} rows; {train(rows, base, name.removeprefix(event['model'] + '-'), folder)}")
        status = penstock([
            "bundle", "build", str(folder / "model.onnx"), "--features", str(folder / "features.yaml"), "--describe",
            str(folder / "bundle.draft.yaml"), "--examples", str(folder / "examples.csv"), "--out", str(out),
        ])  # fmt: skip
        if status:
            return status
    judged = judge(out, base, arguments.log, event, split_s(rows))
    if not judged.better() and not arguments.anyway:
        print(f"{name} is no better than {base.label}; nothing is applied", file=sys.stderr)
        return 3
    service = arguments.inference_service or event["model"]
    document = model_version(name, event, open_bundle(out), arguments.uri, service, judged.margins(), arguments.spec)
    (arguments.out / f"{name}.yaml").write_text(write_document(document))
    print(f"{arguments.out / name}.yaml")
    if arguments.apply:
        apply(document, arguments.namespace, arguments.kubeconfig)
        print(f"modelversion.penstock.dev/{name} applied")
    return 0


def base_of(place: Path, digest: str) -> Bundle:
    """The bundle with this digest, in a folder of bundles or by itself. Raises SystemExit where there is none."""
    found = (open_bundle(path.parent) for pattern in ("", "*/") for path in sorted(place.glob(f"{pattern}bundle.yaml")))
    base = next((bundle for bundle in found if bundle.digest == digest), None)
    if base is None:
        raise SystemExit(f"{place} has no bundle {digest}")
    return base


if __name__ == "__main__":
    sys.exit(main())
