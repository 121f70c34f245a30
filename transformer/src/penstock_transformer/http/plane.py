"""The transformer as its ways in see it."""

from collections.abc import Sequence
from typing import Protocol

from penstock.errors import InvalidInput, NotFound
from penstock_transformer.plan import FetchPlan
from penstock_transformer.requests import PredictReply, PredictRequest
from penstock_transformer.store.port import FeatureStore


class Planned(Protocol):
    """What a way in needs to know of a bundle: which columns a row may hold; None for a bundle without features."""

    @property
    def plan(self) -> FetchPlan | None: ...


class PredictPlane(Protocol):
    """Answers prediction requests for one or more models; `penstock_transformer.transformer.Transformer` is one."""

    def predict(self, request: PredictRequest, reply: PredictReply) -> None:
        """Take a request; answer through `reply` exactly once, now or later. Never raises, never blocks."""

    def models(self) -> Sequence[str]:
        """Names of the models that can be asked for."""

    def store_of(self, model: str | None = None) -> tuple[Planned, FeatureStore | None]:
        """The bundle that most requests of a model go to, and its feature store. Raises NotFound, NotReady."""


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
