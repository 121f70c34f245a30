"""Bundles of the flights model that answer differently, so that an answer shows which of them made it.

    model.onnx --its base value moved--> v1.onnx, v2.onnx, … --`penstock bundle build`--> the claim, as pvc://bundles/NAME

The model is a sum of trees behind a logistic function: a base value moved by d moves the logit of every answer by d. What a
variant answers is thereby known without asking it.
"""

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from bed import flights as example
from bed.flights import MODEL, Flights
from bed.trouble import BedError

MOVED_BY = 0.4
ACCURACY = 1e-5
_BUILD = """\
import os, sys, run
os.chdir(run.ROOT)
for name in sys.argv[1:]:
    def own(end):
        made = run.HERE / f"{name}.{end}"
        return made if made.exists() else run.HERE / end
    model, draft, out = (run.HERE / f"{name}{end}" for end in (".onnx", ".yaml", ""))
    run.penstock("bundle", "build", model, "--features", own("features.yaml"), "--feature_repo", run.REPOSITORY,
                 "--describe", draft, "--examples", own("examples.csv"), "--out", out)
"""


@dataclass(frozen=True)
class Variant:
    """One of them. `name` is its version, and its place in the claim; `moved_by` how far its logits are from the example's."""

    name: str
    folder: Path
    digest: str
    moved_by: float

    @property
    def label(self) -> str:
        """What answers name it."""
        return f"{MODEL}@{self.digest}"

    def score_of(self, own: float) -> float:
        """What it answers where the example's own bundle answers `own`."""
        return 1 / (1 + math.exp(-math.log(own / (1 - own)) - self.moved_by))


def own_variant(flights: Flights) -> Variant:
    """The example's own bundle, as one of them."""
    return Variant("1", flights.bundle, example.digest(flights.bundle), 0.0)


def make_variants(flights: Flights, count: int) -> list[Variant]:
    """Build so many others and put them into the claim. Raises BedError."""
    folder = workshop(flights)
    steps = {f"v{number}": MOVED_BY * number for number in range(1, count + 1)}
    for name, moved_by in steps.items():
        move(folder / "model.onnx", folder / f"{name}.onnx", moved_by)
        describe(folder, name)
    folders = build(flights, list(steps))
    return [Variant(name, made, example.digest(made), steps[name]) for name, made in folders.items()]


def workshop(flights: Flights) -> Path:
    """The example's folder, a copy, in which its model, draft and features lie; others are made beside them."""
    return flights.bundle.parents[2] / "examples" / "flights"


def describe(folder: Path, name: str, *changes: tuple[str, str]) -> None:
    """NAME.yaml: the example's draft under another version, with some of its text replaced."""
    text = (folder / "bundle.draft.yaml").read_text()
    for old, new in (('version: "1"', f'version: "{name}"'), *changes):
        if old not in text:
            raise BedError(f"the example's draft does not say {old}")
        text = text.replace(old, new)
    (folder / f"{name}.yaml").write_text(text)


def build(flights: Flights, names: Sequence[str]) -> dict[str, Path]:
    """A bundle of each NAME.onnx and NAME.yaml, with NAME.features.yaml and NAME.examples.csv where they are there, put into the
    claim; their folders. Raises BedError."""
    folder = workshop(flights)
    done = subprocess.run([sys.executable, "-c", _BUILD, *names], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BedError(f"bundles could not be built:\n{(done.stdout + done.stderr)[-2000:]}")
    for name in names:
        flights.put_bundle(folder / name, name)
    return {name: folder / name for name in names}


def move(source: Path, target: Path, by: float) -> None:
    """The same model with every logit moved."""
    model = onnx.load(source)
    (node,) = model.graph.node
    (base,) = [attribute for attribute in node.attribute if attribute.name == "base_values"]
    base.floats[0] += by
    onnx.save(model, target)
