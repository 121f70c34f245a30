"""The transformer as its ways in see it."""

from collections.abc import Sequence
from typing import Protocol

from penstock.errors import InvalidInput, NotFound
from penstock_transformer.plan import FetchPlan
from penstock_transformer.requests import PredictReply, PredictRequest
from penstock_transformer.store.port import FeatureStore


class PredictPlane(Protocol):
    """Answers prediction requests for one or more models; `penstock_transformer.transformer.Transformer` is one."""

    def predict(self, request: PredictRequest, reply: PredictReply) -> None:
        """Take a request; answer through `reply` exactly once, now or later. Never raises, never blocks."""

    def models(self) -> Sequence[str]:
        """Names of the models that can be asked for."""

    def plan(self, model: str) -> FetchPlan | None:
        """What rows of a model may hold, by the bundle that most requests go to; None for one without features.

        Raises NotFound for an unknown model, NotReady before its bundle is there.
        """

    def store(self, model: str) -> FeatureStore | None:
        """Where a model's stored features are read and written; None if it has none. Raises as `plan` does."""


def chosen_model(transformer: PredictPlane, model: str | None) -> str:
    """The model that is meant: the one named, or the only one. Raises InvalidInput if that is not clear."""
    if model is not None:
        return model
    models = transformer.models()
    if len(models) == 1:
        return models[0]
    if not models:
        raise NotFound("no model is served here", field="model")
    raise InvalidInput(f"expected ?model= with one of {', '.join(sorted(models))}", field="model")
