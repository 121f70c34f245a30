"""The route that statuses call for, and its ConfigMap.

    statuses, annotations --wanted_entries--> entries --route_document--> ConfigMap penstock-route-<model>

The route is derived from the ModelVersions alone: one that was deleted or broken by hand comes back as it was.

Invariants: every version in it has been verified; a version that leaves is out at once, without waiting for anybody (a roll-back
is the one change that must not wait); weights add up to 100; what older transformers refuse, an arm, is in it only while a trial
has a baseline.
"""

from functools import lru_cache
from typing import Any

import yaml

from penstock_operator.baseline import ARM, baseline_name, before_it, in_route
from penstock_operator.judgement import BESIDE, is_tried
from penstock_operator.model_version import GROUP, ModelVersion
from penstock_operator.roles import Roles, is_leaving, is_verified, stage_of
from penstock_operator.seen import COLLOCATED_PORT, Entry, Route, Seen
from penstock_operator.stage import JOINED, Stage

LABEL = f"{GROUP}/route"
MADE = f"{GROUP}/made-service"
# Transformers that are behind this revision for long turn unready.
ACKNOWLEDGED = f"{GROUP}/acknowledged"
KEY = "route.yaml"
_IN_THE_POD = f"http://127.0.0.1:{COLLOCATED_PORT}"


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str) -> Any:
    """A YAML document, by the C library where there is one. Raises yaml.YAMLError."""
    return yaml.load(text, _LOADER)


def route_name(model: str) -> str:
    """The ConfigMap that a model's transformers read."""
    return f"penstock-route-{model}"


def predictor_address(service: str, namespace: str) -> str:
    """Where the predictor of an InferenceService answers."""
    return f"http://{service}-predictor.{namespace}:80"


def own_address(seen: Seen) -> str:
    """Where the user's own bundle answers. One that shares its pods with transformers is reached by each in its own pod: the
    Service of such pods leads to their transformers."""
    return _IN_THE_POD if seen.collocated else predictor_address(seen.model, seen.namespace)


def wanted_entries(seen: Seen, roles: Roles) -> tuple[Entry, ...]:
    """The route's entries, the user's own bundle first, then versions by age; empty if there is nothing to route to, or if the
    user's own bundle would have to answer and nobody knows its digest.

    A digest stands once; of entries that share one, the heavier stays. A candidate's baseline is beside its bundle's own entry.
    """
    if roles.users_own and roles.base is None and not seen.held:
        return ()
    share = _candidates_weight(roles)
    baseline = _baseline(seen, roles, share)
    rest = 100.0 - share - (baseline.weight if baseline is not None else 0.0)
    entries = _users_own(seen, 0.0 if roles.base else rest, _beside(roles) if roles.base is None else None)
    for version in sorted(seen.versions, key=lambda version: version.order):
        entry = _entry(version, roles, share, rest)
        if entry is not None and is_verified(version):
            entries.append(entry)
    best: dict[str, Entry] = {}
    for entry in entries:
        other = best.get(entry.digest)
        if other is None or entry.weight > other.weight:
            best[entry.digest] = entry
    kept = [entry for entry in entries if best[entry.digest] is entry]
    if baseline is not None and baseline.digest in best:
        kept.append(baseline)
    return tuple(kept) if any(entry.weight > 0 for entry in kept) else ()


def _candidates_weight(roles: Roles) -> float:
    candidate = roles.candidate
    if candidate is None or stage_of(candidate) not in JOINED:
        return 0.0
    if roles.base is None and not roles.users_own:
        return 100.0
    return float(candidate.status.weight) if stage_of(candidate) in (Stage.CANARY, Stage.PROMOTING) else 0.0


def _baseline(seen: Seen, roles: Roles, share: float) -> Entry | None:
    """As many requests as the candidate's."""
    candidate = roles.candidate
    if candidate is None or not in_route(candidate, seen, roles):
        return None
    name = baseline_name(candidate)
    return Entry(before_it(seen, roles.base), predictor_address(name, candidate.namespace), share, model=name, arm=ARM)


def _beside(roles: Roles) -> float | None:
    """The part of requests that are copied to the base while all of them go to a candidate that evidence decides on: without it
    nothing would be left to compare with, and what hits every version would look like the candidate's fault."""
    candidate = roles.candidate
    watched = candidate is not None and is_tried(candidate) and stage_of(candidate) is Stage.PROMOTING
    return BESIDE if watched and candidate is not None and candidate.status.weight >= 100 else None


def _users_own(seen: Seen, share: float, beside: float | None) -> list[Entry]:
    """One entry a digest that the user's pods hold: two while their Deployment rolls, each with its pods' part. `beside`: the
    part of requests of which most of them get copies."""
    pods = sum(count for _, count in seen.held)
    address = own_address(seen)
    most = max(seen.held, key=lambda held: held[1], default=("", 0))[0]
    return [
        Entry(digest, address, round(share * count / pods, 4), beside if digest == most else None) for digest, count in seen.held
    ]


def _entry(version: ModelVersion, roles: Roles, share: float, rest: float) -> Entry | None:
    stage, weight, fraction = stage_of(version), 0.0, None
    if version is roles.base:
        weight, fraction = rest, _beside(roles)
    elif version is roles.candidate and stage in JOINED:
        shadow = version.spec.rollout.shadow
        weight, fraction = share, shadow.fraction if stage is Stage.SHADOW and shadow else None
    elif is_leaving(version) or stage not in (Stage.KEPT, Stage.LIVE):
        return None
    name = version.predictor
    return Entry(version.spec.bundle.digest, predictor_address(name, version.namespace), weight, fraction, name)


def route_text(model: str, revision: int, entries: tuple[Entry, ...]) -> str:
    """The route file (its reader is the transformer's `route_file`)."""
    bundles: list[dict[str, Any]] = []
    for entry in entries:
        bundle: dict[str, Any] = {"digest": entry.digest, "predictor": entry.predictor}
        if entry.model is not None:
            bundle["model"] = entry.model
        if entry.fraction is None:
            bundle["weight"] = int(entry.weight) if entry.weight == int(entry.weight) else entry.weight
        else:
            bundle |= {"mode": "shadow", "fraction": entry.fraction}
        if entry.arm:
            bundle["arm"] = entry.arm
        bundles.append(bundle if entry.digest else bundle | {"verify": "none"})
    document = {"formatVersion": 1, "revision": revision, "model": model, "bundles": bundles}
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=200)


def route_document(
    seen: Seen, revision: int, entries: tuple[Entry, ...], *, made_service: bool, acknowledged: int
) -> dict[str, Any]:
    """The ConfigMap. `acknowledged`: the last revision that most transformers apply; 0 for none."""
    noted = {ACKNOWLEDGED: str(acknowledged)} if acknowledged else {}
    metadata = {
        "name": route_name(seen.model),
        "namespace": seen.namespace,
        "labels": {LABEL: seen.model, "app.kubernetes.io/managed-by": "penstock-operator"},
        "annotations": {MADE: "true" if made_service else "false", **noted},
    }
    data = {KEY: route_text(seen.model, revision, entries)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def read_route_document(document: dict[str, Any]) -> Route:
    """What a ConfigMap says. Whatever the operator would not have written has no entries, so that it is written anew."""
    metadata = document["metadata"]
    annotations = metadata.get("annotations") or {}
    noted = str(annotations.get(ACKNOWLEDGED, ""))
    revision, entries = _read(str((document.get("data") or {}).get(KEY, "")), (metadata.get("labels") or {}).get(LABEL))
    return Route(
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        revision=revision,
        entries=entries,
        acknowledged=int(noted) if noted.isascii() and noted.isdecimal() and len(noted) <= 16 else 0,
        made_service=annotations.get(MADE) == "true",
        deleting=bool(metadata.get("deletionTimestamp")),
    )


@lru_cache(maxsize=4096)
def _read(text: str, model: str | None) -> tuple[int, tuple[Entry, ...] | None]:
    """A revision that can be read is kept even if nothing else can: the next one has to be larger."""
    try:
        found = load_yaml(text)
    except yaml.YAMLError:
        return 0, None
    if not isinstance(found, dict):
        return 0, None
    revision = found.get("revision")
    revision = revision if type(revision) is int and 0 <= revision < 2**53 else 0
    try:
        entries = tuple(
            Entry(
                one["digest"],
                one["predictor"],
                float(one.get("weight", 0)),
                one.get("fraction"),
                one.get("model"),
                one.get("arm", ""),
            )
            for one in found["bundles"]
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return revision, None
    # Written back and compared, so that an odd field that the transformer would refuse is found, too.
    same = model is not None and load_yaml(route_text(model, revision, entries)) == found
    return revision, entries if same else None
