"""How good the model is: ranking (AUC), calibration (are 3 of 10 late where it says 30 %?) and the decision at its threshold.

Made from flights that the model never saw, after everything was chosen. The figure shows calibration with the number of flights
behind each point, and the ROC curve.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Flights whose score is alike: the mean of what was said, the share that came late."""

    flights: int
    said: float
    late: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures on unseen flights. `brier_base` is the Brier score of always saying the share of late flights."""

    flights: int
    late: float
    auc: float
    brier: float
    brier_base: float
    threshold: float
    precision: float
    recall: float
    calibration: tuple[Bin, ...]
    roc: tuple[tuple[float, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the curve, rounded, for evaluation.json."""
        figures = asdict(self)
        del figures["roc"]
        figures["calibration"] = [asdict(each) for each in self.calibration]
        return {name: _rounded(value) for name, value in figures.items()}

    def summary(self) -> dict[str, Any]:
        """The few figures that travel with the bundle."""
        figures = self.as_dict()
        return {name: figures[name] for name in ("flights", "auc", "brier", "brier_base", "precision", "recall")}

    def __str__(self) -> str:
        lines = [
            f"unseen flights   {self.flights:,}, {self.late:.1%} of them late",
            f"AUC              {self.auc:.3f}   (0.5 is chance)",
            f"Brier score      {self.brier:.4f}  ({self.brier_base:.4f} for always saying {self.late:.0%})",
            f"called late      from a score of {self.threshold:.2f}: {self.precision:.0%} of those are late, "
            f"and {self.recall:.0%} of all that are late",
            "calibration      said   late   flights",
        ]
        lines += [f"                {each.said:5.1%}  {each.late:5.1%}  {each.flights:8,}" for each in self.calibration]
        return "\n".join(lines)


def evaluate(scores: npt.NDArray[np.float32], late: npt.NDArray[np.bool_], threshold: float) -> Evaluation:
    """Figures for scores `[rows]` against what happened, `[rows]`. Bins hold equal numbers of flights."""
    called = scores >= threshold
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, BINS)
    false_rate, true_rate, _ = roc_curve(late, scores)
    return Evaluation(
        flights=len(late),
        late=float(late.mean()),
        auc=float(roc_auc_score(late, scores)),
        brier=float(brier_score_loss(late, scores)),
        brier_base=float(late.mean() * (1 - late.mean())),
        threshold=threshold,
        precision=float(late[called].mean()),
        recall=float(called[late].mean()),
        calibration=tuple(Bin(len(part), float(scores[part].mean()), float(late[part].mean())) for part in parts),
        roc=tuple(zip(false_rate.tolist(), true_rate.tolist(), strict=True)),
    )


def draw(evaluation: Evaluation, path: Path) -> None:
    """Calibration and ROC side by side, as a PNG."""
    # Here, since who only retrains draws nothing, and needs no matplotlib.
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    figure.suptitle(
        f"Late by more than 15 minutes? {evaluation.flights:,} unseen flights, November and December 2013", fontsize=11
    )
    said = [each.said for each in evaluation.calibration]
    happened = [each.late for each in evaluation.calibration]
    edge = max(*said, *happened) * 1.1
    left.plot([0, edge], [0, edge], color="0.6", linewidth=1, linestyle="--", label="perfectly calibrated")
    left.plot(said, happened, marker="o", color="tab:blue", label="a tenth of the flights each")
    left.axvline(evaluation.threshold, color="tab:orange", linewidth=1, label=f"called late from {evaluation.threshold:.2f}")
    left.set(xlabel="the model's score", ylabel="share that came late", xlim=(0, edge), ylim=(0, edge), title="Calibration")
    left.legend(frameon=False, fontsize=8)
    right.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    right.plot(*zip(*evaluation.roc, strict=True), color="tab:blue", label=f"AUC {evaluation.auc:.3f}")
    right.set(xlabel="on-time flights called late", ylabel="late flights called late", title="ROC", xlim=(0, 1), ylim=(0, 1))
    right.legend(frameon=False, loc="lower right")
    # No software version in the file, so that the same figures give the same bytes.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
