"""Zero-shot classification: how well labels that come with the request fit its rows, by a model that has never seen them.

    rows + labels --ask--> Asked.rows (more of them) -> encoder -> model -> outputs --Asked.predictions--> scores, sorted

Two styles, by what the model is. Embeddings: each label, in the template, is a row of its own; text and label are compared by the
cosine of their embeddings, and a softmax over `temperature` makes scores of that. Pairs (natural language inference): each row is
run with each label as its hypothesis, and the scores are a softmax over the labels of how far the model calls it entailed.

Asking spreads a request's rows, and predicting folds them again; whatever is between knows nothing of labels. Embeddings of
labels are kept for the next request, so that a model asked about the same labels runs one row a text.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from penstock.bundle.manifest import Manifest, ZeroShotSpec
from penstock.errors import Internal, InvalidInput, PenstockError, TooLarge
from penstock.features.parameters import describe
from penstock.features.spec import FeatureSpec
from penstock.tensors import Array

MAX_ROWS = 10_000
MAX_LABEL_LENGTH = 1_000
_KEPT_BYTES = 16 << 20

Row = dict[str, Any]


class ZeroShot:
    """What one bundle does with candidate labels. Not for several threads at once."""

    def __init__(self, manifest: Manifest, features: FeatureSpec | None) -> None:
        """Raises InvalidInput naming the part of `postprocess` that does not fit the features or the model's signature."""
        spec = manifest.postprocess.zero_shot
        assert spec is not None
        self.spec: ZeroShotSpec = spec
        self.defaults = manifest.postprocess.labels
        self.source = _source(manifest)
        _check_feature(spec, features)
        self._kept: OrderedDict[str, Array] = OrderedDict()

    def ask(self, rows: list[Row], options: dict[str, Any] | None) -> "Asked":
        """A request's rows spread over its labels (`options.labels`, else the bundle's own).

        Raises InvalidInput or TooLarge, naming `options.labels`, for labels that cannot be judged, and for a row that brings the
        feature itself where labels go into it.
        """
        labels = self._labels(options)
        if self.spec.entailment is None:
            known = {label: self._kept[label] for label in labels if label in self._kept}
            for label in known:
                self._kept.move_to_end(label)
            new = tuple(label for label in labels if label not in known)
            return Asked(self, len(rows), labels, [*rows, *({self.spec.feature: self._text(label)} for label in new)], new, known)
        if len(rows) * len(labels) > MAX_ROWS:
            raise TooLarge(f"{len(rows)} rows with {len(labels)} labels each; at most {MAX_ROWS} pairs a request", field="rows")
        for at, row in enumerate(rows):
            if row.get(self.spec.feature) is not None:
                raise InvalidInput("the labels go here; expected it left out", field=f"rows[{at}].{self.spec.feature}")
        pairs = [row | {self.spec.feature: self._text(label)} for row in rows for label in labels]
        return Asked(self, len(rows), labels, pairs)

    def keep(self, label: str, vector: Array) -> None:
        """Remember a label's embedding; the longest unused ones make room."""
        self._kept[label] = vector.copy()
        most = max(_KEPT_BYTES // max(vector.nbytes, 1), 1)
        while len(self._kept) > most:
            self._kept.popitem(last=False)

    def _text(self, label: str) -> str:
        return self.spec.template.replace("{}", label)

    def _labels(self, options: dict[str, Any] | None) -> tuple[str, ...]:
        given = (options or {}).get("labels")
        if given is None:
            if not self.defaults:
                raise InvalidInput("expected the labels to choose from, such as [sports, politics]", field="options.labels")
            return self.defaults
        if not isinstance(given, list) or not given:
            raise InvalidInput(f"expected a list of labels, got {describe(given)}", field="options.labels")
        if len(given) > self.spec.max_labels:
            raise TooLarge(f"expected at most {self.spec.max_labels} labels, got {len(given)}", field="options.labels")
        for at, label in enumerate(given):
            if not isinstance(label, str) or not label.strip():
                raise InvalidInput(f"expected text, got {describe(label)}", field=f"options.labels[{at}]")
            if len(label) > MAX_LABEL_LENGTH:
                raise TooLarge(f"expected at most {MAX_LABEL_LENGTH} characters, got {len(label)}", field=f"options.labels[{at}]")
            if label in given[:at]:
                raise InvalidInput(f"{describe(label)} is given twice", field=f"options.labels[{at}]")
        return tuple(given)


@dataclass(slots=True)
class Asked:
    """One request, spread: `rows` are what is run; `count` of its own and `labels` are what is predicted."""

    zero_shot: ZeroShot
    count: int
    labels: tuple[str, ...]
    rows: list[Row]
    new: tuple[str, ...] = ()
    known: dict[str, Array] = field(default_factory=dict)

    @property
    def places(self) -> range:
        """Where each of the request's own rows is among `rows`: its first pair, for pairs."""
        step = 1 if self.zero_shot.spec.entailment is None else len(self.labels)
        return range(0, self.count * step, step)

    def own(self, predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of one prediction for each of `rows` those of the request's own, without what asking put into them."""
        mine = [predictions[place] for place in self.places]
        if self.zero_shot.spec.entailment is None:
            return mine
        for place, prediction in zip(self.places, mine, strict=True):
            prediction.get("data", {}).pop(self.zero_shot.spec.feature, None)
            if "truncated" in prediction:
                pairs = predictions[place : place + self.places.step]
                prediction["truncated"] = list(dict.fromkeys(name for pair in pairs for name in pair["truncated"]))
        return mine

    def predictions(self, outputs: dict[str, Array]) -> list[dict[str, Any]]:
        """One prediction a row: `label`, the best one, and `scores`, the best first. `outputs` are those of `rows`."""
        zero_shot = self.zero_shot
        array = outputs.get(zero_shot.source)
        if array is None or array.ndim != 2 or len(array) != len(self.rows):
            raise Internal(f"the model did not answer with output {zero_shot.source!r} of shape [rows, width]")
        array = array.astype(np.float64)
        scores = self._similar(array) if zero_shot.spec.entailment is None else self._entailed(array, zero_shot.spec)
        return [self._sorted(row) for row in scores.tolist()]

    def restated(self, error: PenstockError) -> PenstockError:
        """An error about one of `rows` as one about the request's own row, or its label."""
        name, _, rest = (error.field or "").partition("]")
        if not name.startswith("rows[") or not name[5:].isdigit():
            return error
        at, pairs = int(name[5:]), self.zero_shot.spec.entailment is not None
        if pairs and rest == f".{self.zero_shot.spec.feature}":
            place = f"options.labels[{at % len(self.labels)}]"
        elif not pairs and at >= self.count:
            place = f"options.labels[{self.labels.index(self.new[at - self.count])}]"
        else:
            place = f"rows[{at // (len(self.labels) if pairs else 1)}]{rest}"
        other = type(error)(error.message, field=place)
        other.bundle = error.bundle
        return other

    def _similar(self, array: Array) -> Array:
        texts, vectors = array[: self.count], dict(self.known)
        for label, vector in zip(self.new, array[self.count :], strict=True):
            self.zero_shot.keep(label, vector)
            vectors[label] = vector
        cosines = _unit(texts) @ _unit(np.stack([vectors[label] for label in self.labels])).T
        return _softmax(cosines / self.zero_shot.spec.temperature)

    def _entailed(self, array: Array, spec: ZeroShotSpec) -> Array:
        classes = (spec.entailment or 0, spec.contradiction)
        if max(each for each in classes if each is not None) >= array.shape[1]:
            raise Internal(f"output {self.zero_shot.source!r} has {array.shape[1]} columns, bundle.yaml names more")
        if not spec.independent:
            return _softmax(array[:, classes[0]].reshape(self.count, len(self.labels)))
        chosen = array if spec.contradiction is None else array[:, [spec.contradiction, classes[0]]]
        share = _softmax(chosen)[:, classes[0] if spec.contradiction is None else 1]
        return np.asarray(share.reshape(self.count, len(self.labels)))

    def _sorted(self, scores: list[float]) -> dict[str, Any]:
        if any(score != score for score in scores):
            return {"label": None, "scores": dict.fromkeys(self.labels)}
        best = sorted(zip(self.labels, scores, strict=True), key=lambda pair: -pair[1])
        return {"label": best[0][0], "scores": dict(best)}


def _unit(vectors: Array) -> Array:
    """Rows of length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths))


def _softmax(values: Array) -> Array:
    with np.errstate(invalid="ignore"):
        raised = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _source(manifest: Manifest) -> str:
    """The output that is read: a float of `[rows, width]`. Raises InvalidInput."""
    outputs = manifest.model.outputs
    output = next((o for o in outputs if o.name == (manifest.postprocess.source or outputs[0].name)), outputs[0])
    if len(output.shape) != 2 or not output.datatype.startswith("FP"):
        found = f"{output.name} is {output.datatype} {list(output.shape)}"
        raise InvalidInput(f"expected floats [rows, width], {found}; pool in the model", field="postprocess.from")
    spec = manifest.postprocess.zero_shot
    for name in ("entailment", "contradiction"):
        column = getattr(spec, name)
        if column is not None and output.shape[1] != -1 and column >= output.shape[1]:
            raise InvalidInput(f"{output.name} has {output.shape[1]} columns", field=f"postprocess.{name}")
    return output.name


def _check_feature(spec: ZeroShotSpec, features: FeatureSpec | None) -> None:
    where = "postprocess.feature"
    if features is None:
        raise InvalidInput("zeroShot needs a features.yaml, with the text feature that labels go into", field="postprocess.kind")
    requested = {f.column: f for f in features.requested()}
    found = requested.get(spec.feature)
    if found is None or found.type != "string":
        texts = ", ".join(name for name, f in requested.items() if f.type == "string") or "none"
        raise InvalidInput(f"expected a text that comes with the request, got {spec.feature!r}; there is {texts}", field=where)
    others = [f.column for f in requested.values() if f is not found and f.missing.policy == "reject"]
    if spec.entailment is None and (others or features.sets):
        raise InvalidInput(
            f"a label is a row of {spec.feature} alone, but the features also need {', '.join([*others, *features.sets])}",
            field=where,
        )
