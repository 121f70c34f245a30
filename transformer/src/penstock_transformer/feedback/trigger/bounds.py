"""What a watch file says: which model, over which window, what may not pass, and what is done then.

    model: flights
    window: 7d                          # what is judged, and what the retraining gets
    every: 1h                           # windows end on whole hours
    delay: 12h                          # how long outcomes take; the window ends that long ago
    leastRows: 500                      # of the bundle that answers; with fewer nothing is said
    coolDown: 24h                       # after a retraining has ended
    longest: 6h                         # one that is not heard of counts as ended
    quality: {accuracy: {least: 0.7}, cost: {most: 12}}
    drift: {features: 0.2, outputs: 0.2, ignore: [temp]}
    bundles: /bundles                   # where bundles are, for their profiles: a folder, or a server's URL
    log: pvc://prediction-log           # how the receiver finds the log; told as it stands
    action: {webhook: https://…, mode: structured}        or {job: retrain-job.yaml}

Invariant: a file that is read has a bound, and an action whose parts are whole; everything else names its field.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from penstock.errors import InvalidInput
from penstock.features.document import read_document
from penstock.features.durations import read_duration
from penstock.features.parameters import Parameters

MEASURES = ("accuracy", "auc", "calibration_error", "bias", "mean_absolute_error", "root_mean_squared_error", "cost")
Read = Callable[[str], bytes]
Mode = Literal["structured", "binary", "plain"]
MODES: tuple[Mode, ...] = ("structured", "binary", "plain")


@dataclass(frozen=True, slots=True)
class Bound:
    """What a measure of quality may be at least, or at most."""

    measure: str
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """Greatest distance (total variation, 0 to 1) of each feature and of each output from training; None: not looked at."""

    features: float | None = None
    outputs: float | None = None
    ignore: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where the request goes, and in which form."""

    url: str
    mode: Mode = "structured"


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """A Kubernetes Job as the user wrote it. `namespace` None: the one of the pod that starts it."""

    document: dict[str, Any]
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """One model's; times in s."""

    model: str
    window_s: float
    every_s: float
    delay_s: float
    least_rows: int
    cool_down_s: float
    longest_s: float
    quality: tuple[Bound, ...]
    drift: Drift
    bundles: str
    log: str
    action: Webhook | JobTemplate | None


def open_watch(path: Path) -> Watch:
    """A watch file; a job's template is looked for beside it. Raises InvalidInput naming file and field, OSError."""
    return read_watch(path.read_bytes(), path.name, lambda name: (path.parent / name).read_bytes())


def read_watch(text: bytes, name: str, read: Read | None = None) -> Watch:
    """The text of a watch file. `read` gives the bytes of a template by its name. Raises InvalidInput."""
    p = Parameters(read_document(text, name), "")
    p.integer("formatVersion", 1, least=1, most=1)
    watch = Watch(
        model=p.text("model"),
        window_s=_duration(p, "window"),
        every_s=_duration(p, "every", "1h"),
        delay_s=_duration(p, "delay") if p.has("delay") else 0.0,
        least_rows=p.integer("leastRows", 500, least=1),
        cool_down_s=_duration(p, "coolDown", "24h"),
        longest_s=_duration(p, "longest", "6h"),
        quality=_quality(p.mapping("quality", {})),
        drift=_drift(p.mapping("drift", {})),
        bundles=_text(p, "bundles"),
        log=_text(p, "log"),
        action=_action(p.mapping("action"), read) if p.has("action") else None,
    )
    p.done()
    if not watch.quality and watch.drift.features is None and watch.drift.outputs is None:
        raise InvalidInput("expected a bound: some of quality, drift.features, drift.outputs", field=name)
    if (watch.drift.features is not None or watch.drift.outputs is not None) and not watch.bundles:
        raise InvalidInput("is required for drift: the profiles of training are in the bundles", field="bundles")
    return watch


def _text(p: Parameters, name: str) -> str:
    """A text that may be left out."""
    return p.text(name) if p.has(name) else ""


def _duration(p: Parameters, name: str, default: str | None = None) -> float:
    """Seconds. Without a default the field has to be there."""
    return read_duration(p.any(name) if default is None else p.any(name, default), p.field(name))


def _quality(p: Parameters) -> tuple[Bound, ...]:
    found = []
    for measure in MEASURES:
        if p.has(measure):
            one = p.mapping(measure)
            least = one.number("least") if one.has("least") else None
            most = one.number("most") if one.has("most") else None
            one.done()
            if least is None and most is None:
                raise InvalidInput("expected least, most or both", field=p.field(measure))
            found.append(Bound(measure, least, most))
    p.done()
    return tuple(found)


def _drift(p: Parameters) -> Drift:
    ignore = p.items("ignore", [])
    for at, name in enumerate(ignore):
        if not isinstance(name, str):
            raise InvalidInput(f"expected a name, got {name!r:.60}", field=f"{p.field('ignore')}[{at}]")
    drift = Drift(_share(p, "features"), _share(p, "outputs"), frozenset(ignore))
    p.done()
    return drift


def _share(p: Parameters, name: str) -> float | None:
    if not p.has(name):
        return None
    share = p.number(name)
    if not 0 <= share < 1:
        raise InvalidInput(f"expected a distance from 0 to 1, got {share:g}", field=p.field(name))
    return share


def _action(p: Parameters, read: Read | None) -> Webhook | JobTemplate:
    if p.has("webhook") == p.has("job"):
        raise InvalidInput("expected webhook or job", field=p.path)
    if not p.has("job"):
        mode = p.choice("mode", MODES, "structured")
        action = Webhook(p.text("webhook"), next(known for known in MODES if known == mode))
        p.done()
        return action
    name = p.text("job")
    namespace = p.text("namespace") if p.has("namespace") else None
    p.done()
    if read is None:
        raise InvalidInput("templates are not read here", field=p.field("job"))
    return JobTemplate(read_template(read(name), name), namespace)


def read_template(text: bytes, name: str) -> dict[str, Any]:
    """A Job's YAML or JSON. Raises InvalidInput for what could never be one; the rest the API server says."""
    document = read_document(text, name)
    if (document.get("apiVersion"), document.get("kind")) != ("batch/v1", "Job"):
        raise InvalidInput("expected apiVersion batch/v1 and kind Job", field=f"{name}: kind")
    p = Parameters(document, "").mapping("spec").mapping("template").mapping("spec")
    if not p.items("containers") or not all(isinstance(one, dict) for one in p.items("containers")):
        raise InvalidInput("expected at least one container", field=f"{name}: {p.field('containers')}")
    return document
