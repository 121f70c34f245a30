"""Who is shown what was answered: the port from the pipeline to the prediction log.

    Pipeline --answered, answered_plain--> AnswerLog

Invariant: it is told after the callers were; it raises nothing and keeps nobody waiting.
"""

from typing import Any, Protocol

from penstock.tensors import Array
from penstock_transformer.active import ActiveBundle
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.group import Group
from penstock_transformer.work import PredictWork


class AnswerLog(Protocol):
    """What a pipeline shows its answers to."""

    def answered(self, group: Group, outputs: dict[str, Array]) -> None:
        """A group of requests that the model has answered; `outputs` are of all its rows."""
        ...

    def answered_plain(
        self,
        bundle: ActiveBundle,
        work: PredictWork,
        outputs: dict[str, Array],
        predictions: list[dict[str, Any]],
        sums: Sums | None = None,
    ) -> None:
        """One request of a bundle without features; `predictions` is empty where only tensors were asked for."""
        ...
