"""Which model, or which of its versions, a NAME on the command line means."""

from penstock.errors import Conflict, NotFound
from penstock_cli.rollout.story import Story, stories_of
from penstock_operator.model_version import ModelVersion


def named(versions: list[ModelVersion], name: str | None, *, gone: bool = False) -> list[ModelVersion]:
    """All versions of the models that a name means: a model's own, or those of the model which a version of this name is of;
    every version for None. Raises NotFound, unless they may be `gone`."""
    if name is None:
        return versions
    models = {(one.namespace, name) for one in versions if one.spec.inference_service == name}
    models = models or {(one.namespace, one.spec.inference_service) for one in versions if one.name == name}
    if not models and not gone:
        raise NotFound(f"no model and no ModelVersion is called {name}; {_known(versions)}")
    return [one for one in versions if (one.namespace, one.spec.inference_service) in models]


def version_of(story: Story, name: str) -> ModelVersion | None:
    """The version of this name; None where the name is the model's."""
    return next((one for one in story.versions if one.name == name), None)


def target_of(versions: list[ModelVersion], name: str) -> tuple[Story, ModelVersion]:
    """The version that a command is about, with its model's story: the one of this name, or the one of a model that is on its
    way. Raises NotFound, and Conflict where nothing of the model is on its way."""
    exact = next((one for one in versions if one.name == name), None)
    model = exact.spec.inference_service if exact is not None else name
    story = stories_of(named(versions, model), {})[0]
    version = exact or story.candidate
    if version is None:
        examples = ", ".join(one.name for one in story.versions[:3])
        raise Conflict(f"no version of {name} is on its way; name the version that is meant: {examples}")
    return story, version


def _known(versions: list[ModelVersion]) -> str:
    if not versions:
        return "there are no ModelVersions here (another --namespace?)"
    models = sorted({one.spec.inference_service for one in versions})
    return f"expected one of the models {', '.join(models[:10])}, or one of their versions"
