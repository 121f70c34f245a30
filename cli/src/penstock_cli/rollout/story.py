"""What there is to tell of one model: its versions, which of them answers, which one is on its way, what it waits for.

    ModelVersions + route --stories_of--> Story --words, drawing, document--> what the user reads

Values only, of what was read; the operator's own rules say who is who, so that both always mean the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock_operator.model_version import ROLLBACK, ModelVersion
from penstock_operator.roles import find_roles, stage_of
from penstock_operator.seen import Route
from penstock_operator.stage import ENDED, UNFINISHED, Stage


@dataclass(frozen=True, slots=True)
class Story:
    """One model. `versions` newest first; `candidate` is on its way to all requests, `live` answers the others. `own_weight`: per
    cent of requests that a bundle in the user's own InferenceService answers, None if the route has none."""

    namespace: str
    model: str
    versions: tuple[ModelVersion, ...]
    candidate: ModelVersion | None
    live: ModelVersion | None
    revision: int | None = None
    own_weight: float | None = None

    @property
    def newest(self) -> ModelVersion:
        return self.versions[0]


def stories_of(versions: Iterable[ModelVersion], routes: Mapping[tuple[str, str], Route | None]) -> list[Story]:
    """A story for each model, by namespace and name. `routes` by (namespace, model)."""
    models: dict[tuple[str, str], list[ModelVersion]] = {}
    for version in versions:
        models.setdefault((version.namespace, version.spec.inference_service), []).append(version)
    return [_story(*place, found, routes.get(place)) for place, found in sorted(models.items())]


def _story(namespace: str, model: str, versions: list[ModelVersion], route: Route | None) -> Story:
    entries = (route.entries or ()) if route is not None else ()
    digests = {one.digest for one in entries if one.model is None}
    # A baseline of the InferenceService's own bundle answers as that does.
    own = [one.weight for one in entries if one.model is None or (one.arm and one.digest in digests)]
    roles = find_roles(versions, users_own=bool(own))
    live = roles.base if roles.base is not None and stage_of(roles.base) is Stage.LIVE else None
    return Story(
        namespace=namespace,
        model=model,
        versions=tuple(sorted(versions, key=lambda version: version.order, reverse=True)),
        candidate=roles.candidate,
        live=live,
        revision=route.revision if route is not None else None,
        own_weight=sum(own) if own else None,
    )


def is_ended(version: ModelVersion) -> bool:
    """Whether it gets no requests and will get none by itself."""
    return stage_of(version) in ENDED


def is_on_its_way(version: ModelVersion) -> bool:
    """Whether it has not got all requests yet, and is meant to."""
    return stage_of(version) in UNFINISHED and not version.deleted and ROLLBACK not in version.annotations
