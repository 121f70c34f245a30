"""bundle.yaml as values: name, version, the model's signature, post-processing, and the digest of every other file.

The bundle's digest is the SHA-256 of bundle.yaml's bytes, so it covers the bytes of every file that the manifest lists.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.dataplane import TensorMetadata


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the bundle: its SHA-256 in hex and its length."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ZeroShotSpec:
    """How candidate labels of a request are judged (`penstock.zero_shot`).

    `feature`: the text feature that a label is written into, by `template`, whose `{}` is the label. Without `entailment` label
    and text are embedded and compared: softmax of the cosines over `temperature`. With it each row is run with each label as a
    pair, and `entailment` (and `contradiction`) are the columns of those classes; `independent` judges each label by itself.
    `max_labels`: the most that a request may name.
    """

    feature: str
    template: str = "{}"
    temperature: float = 0.05
    entailment: int | None = None
    contradiction: int | None = None
    independent: bool = False
    max_labels: int = 100


@dataclass(frozen=True, slots=True)
class PostprocessSpec:
    """How the model's outputs become a prediction.

    `source` names the output that is read (yaml: `from`). classification: `labels`, one a class, and `threshold` for two classes
    (the score of the second label at or above it gives that label); regression: a value; boolean: a value against `threshold`;
    raw: outputs as they are; zeroShot: scores of the labels that the request names, or else of `labels`. `activation` turns
    logits into probabilities first; without it scores are what the model says.
    """

    kind: Literal["classification", "regression", "boolean", "raw", "zeroShot"]
    source: str | None = None
    labels: tuple[str, ...] = ()
    threshold: float | None = None
    activation: Literal["softmax", "sigmoid"] | None = None
    zero_shot: ZeroShotSpec | None = None


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """The model's own tensors. `rows_independent`: rows of callers may share a run. `external`: the files of its weights."""

    file: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    rows_independent: bool | None = None
    external: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed bundle.yaml."""

    name: str
    version: str
    model: ModelSignature
    postprocess: PostprocessSpec
    files: dict[str, FileEntry]
    card: dict[str, Any] = field(default_factory=dict)
    format_version: int = 1
    # The encoder and the model as one graph, raw features in, the model's outputs out (`bundle build --fuse`).
    fused: str | None = None

    def small_files(self) -> tuple[str, ...]:
        """The files that a transformer fetches: all but the model's."""
        large = {self.model.file, *self.model.external, self.fused}
        return tuple(name for name in self.files if name not in large)
