"""What a log's folder says of the bundles' quality, worked out from time to time: for /metrics, and for whoever decides rollouts.

    every quality_s: folder --rows with their outcomes--> measures (gauges)      --> sums (GET /quality)

Everything is worked out anew from what lies in the folder: no sum is kept that a restart would lose, a second sink would double,
or a corrected or deleted outcome would leave wrong. Kept from pass to pass are the rows (log_window.py), not what came of them.

Invariant: what is told is of one pass over one folder, or nothing; a pass that fails leaves the last one.
"""

import logging
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric

from penstock.errors import InvalidInput, NotFound
from penstock.evidence.quality import LogQuality, QualityDocument
from penstock.serving.admin import AdminRoutes
from penstock_transformer.feedback.folder import LogFolder, models_of
from penstock_transformer.feedback.grades import grade, joined
from penstock_transformer.feedback.quality import Quality, qualities
from penstock_transformer.feedback.sink.bounds import Bounds
from penstock_transformer.feedback.sink.log_window import LogWindow, Seen

logger = logging.getLogger(__name__)

MEASURES = (
    "accuracy", "auc", "calibration_error", "bias", "mean_absolute_error", "root_mean_squared_error", "cost",
)  # fmt: skip
MOST_ROWS = 200_000
_ERRORS = ("accuracy", "bias", "cost")
"""Measures with a standard error."""


class Judging:
    """Of all models of one folder, over the predictions of `window_s` (None: of all that is kept), `most_rows` of a model.
    `judge` blocks; the rest may be called meanwhile."""

    def __init__(self, root: Path, window_s: float | None, bounds: Bounds, *, most_rows: int = MOST_ROWS) -> None:
        self._root = root
        self._window_s = window_s
        self._bounds = bounds
        self._most_rows = most_rows
        self._windows: dict[str, LogWindow] = {}
        self._short: set[str] = set()
        self._qualities: dict[str, list[Quality]] = {}
        self._logs: dict[str, LogQuality] = {}

    def judge(self) -> None:
        """One pass. Raises OSError."""
        now_s = time.time()
        since_s = now_s - (self._window_s or now_s)
        try:
            models = models_of(self._root)
        except NotFound:
            return
        incarnation = _incarnation(self._root)
        found, logs = {}, {}
        self._windows = {model: self._windows.get(model) or self._window(model) for model in models}
        for model, window in self._windows.items():
            seen = window.look(since_s, now_s)
            self._tell_short(model, seen)
            found[model] = qualities(seen.rows, seen.outcomes)
            logs[model] = LogQuality(incarnation, now_s, seen.since_s, grade(joined(seen.rows, seen.outcomes)))
        self._qualities, self._logs = found, logs

    def _window(self, model: str) -> LogWindow:
        return LogWindow(LogFolder(self._root, model), self._most_rows)

    def _tell_short(self, model: str, seen: Seen) -> None:
        if seen.whole:
            self._short.discard(model)
        elif model not in self._short:
            # Said once: it is so at every pass.
            self._short.add(model)
            extra = {"model": model, "since_s": round(seen.since_s), "rows": len(seen.rows)}
            logger.warning("quality is of fewer days than the window: it holds more rows than are looked at", extra=extra)

    def document(self, model: str) -> QualityDocument:
        """What is known of a model; empty before the first pass."""
        log = self._logs.get(model)
        return QualityDocument(model, [] if log is None else [log])

    def add_to(self, routes: AdminRoutes) -> None:
        """`GET /quality?model=M` on the admin port."""

        async def told(arguments: dict[str, Any]) -> Any:
            model = arguments.get("model")
            if not isinstance(model, str) or not model:
                raise InvalidInput("missing; expected a model's name", field="model")
            return msgspec.to_builtins(self.document(model))

        routes.add("GET", "/quality", told, summary="How good each bundle's predictions were, as sums")

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        logs, qualities = self._logs, self._qualities
        window = GaugeMetricFamily(
            "penstock_quality_window_seconds", "Quality is of predictions that are at most so old.", labels=("model",)
        )
        for model, log in logs.items():
            window.add_metric((model,), log.as_of_s - log.since_s)
        return (*quality_families(qualities, self._bounds), window)


def _incarnation(root: Path) -> str:
    """The folder's own name, made by the first sink of it."""
    path = root / "folder-id"
    if not path.exists():
        # Whole or not at all: another sink may read it the moment it is there.
        made = root / f"folder-id-{secrets.token_hex(8)}"
        made.write_text(secrets.token_hex(8))
        with suppress(FileExistsError):
            path.hardlink_to(made)
        made.unlink()
    return path.read_text()


def quality_families(found: dict[str, list[Quality]], bounds: Bounds | None = None) -> Iterable[Metric]:
    """Each bundle's measures over the window, the rows they rest on, how sure they are, and which are beyond a bound."""
    labels = ("model", "bundle", "shadow")
    rows = GaugeMetricFamily("penstock_quality_rows", "Predictions whose outcome is known, in the window.", labels=labels)
    strange = GaugeMetricFamily("penstock_quality_strange", "Outcomes that name a label which the bundle lacks.", labels=labels)
    measures = GaugeMetricFamily(
        "penstock_quality", "How good a bundle's predictions were, by their outcomes.", labels=(*labels, "measure")
    )
    errors = GaugeMetricFamily("penstock_quality_error", "Standard error of such a measure.", labels=(*labels, "measure"))
    bins = GaugeMetricFamily(
        "penstock_quality_calibration_ratio",
        "By tenths of the score: how likely a label was said to be on average, and how often it was true.",
        labels=(*labels, "tenth", "of"),
    )
    beyond = GaugeMetricFamily(
        "penstock_quality_beyond_bound", "1 while a measure has passed its bound, 0 while not.", labels=(*labels, "measure")
    )
    for model, bundles in found.items():
        for one in bundles:
            names = (model, one.bundle, str(one.shadow).lower())
            rows.add_metric(names, one.rows)
            strange.add_metric(names, sum(one.strange.values()))
            for measure in MEASURES:
                value = getattr(one, measure)
                if value is not None:
                    measures.add_metric((*names, measure), value)
            for measure in _ERRORS:
                value = getattr(one, f"{measure}_error")
                if value is not None:
                    errors.add_metric((*names, measure), value)
            for part in one.calibration:
                bins.add_metric((*names, f"{part.low:.1f}", "said"), part.predicted)
                bins.add_metric((*names, f"{part.low:.1f}", "true"), part.observed)
            for measure, passed in () if bounds is None or one.shadow else bounds.passed(one):
                beyond.add_metric((*names, measure), float(passed))
    return rows, strange, measures, errors, bins, beyond
