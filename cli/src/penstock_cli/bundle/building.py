"""Building a bundle: everything that decides a prediction, gathered, tried, and put under one digest.

    model.onnx + features.yaml (+ Feast repository) (+ example rows) -> directory

The same inputs give the same bytes: nothing of the time, the machine or the order of files goes in. The directory appears whole
or not at all.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from penstock.bundle.files import digest_file
from penstock.bundle.golden import GOLDEN, write_golden
from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.bundle.manifest_text import MANIFEST, check_file_name, read_manifest, write_manifest
from penstock.bundle.profile import PROFILE, write_profile
from penstock.bundle.reading import Bundle, open_bundle
from penstock.errors import Conflict, InvalidInput
from penstock.features.compiler import compile_encoder
from penstock.features.document import write_document
from penstock.features.encoder import Encoder
from penstock.features.plan import plan
from penstock.features.reading import read_spec
from penstock.features.spec import FeatureSpec
from penstock.features.texts import files_beside
from penstock.features.writing import store_fields, write_spec
from penstock.onnx import Session, SessionSettings, load
from penstock.onnx.external import external_files
from penstock_cli.bundle.examples import Pipeline, Results, make_pipeline, run_frame
from penstock_cli.bundle.fitting_model import check_tensors, refuse_fusing, rows_independent
from penstock_cli.bundle.verifying import verify
from penstock_cli.text_file import read_text

MODEL, FEATURES, ENCODER, FUSED = "model.onnx", "features.yaml", "encoder.onnx", "fused.onnx"
MAX_GOLDEN_ELEMENTS = 500_000
_OWN = (MANIFEST, FEATURES, ENCODER, FUSED, GOLDEN, PROFILE)


@dataclass(frozen=True, slots=True)
class Order:
    """What to build. `examples` is a data frame of raw rows, or None; `golden_rows` of them are kept with their predictions."""

    model: Path
    name: str
    version: str
    features: Path | None = None
    feature_repo: Path | None = None
    examples: Any = None
    golden_rows: int = 20
    now: float | None = None
    postprocess: PostprocessSpec = field(default_factory=lambda: PostprocessSpec("raw"))
    card: dict[str, Any] = field(default_factory=dict)
    rows_independent: bool | None = None
    fuse: bool = False


def build(order: Order, out: Path, *, say: Callable[[str], None] = lambda _: None) -> Bundle:
    """Build the bundle in directory `out` and verify it. An older bundle there is replaced, anything else is left alone.

    `say` is told each step. Raises InvalidInput naming the file and field at fault, Conflict if `out` holds something else.
    """
    _check_replaceable(out)
    if order.fuse and order.features is None:
        raise InvalidInput("there is nothing to fuse without a feature spec", field="--fuse")
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        _fill(order, staging, say)
        verify(staging, say=say)
        staging.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return open_bundle(out)


def _check_replaceable(out: Path) -> None:
    """Raises Conflict unless `out` is free, empty, or an older bundle and nothing else: replacing deletes all that is in it."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise Conflict("exists and is not a bundle; name another directory, or remove it", field=str(out))
    try:
        own = {MANIFEST, *read_manifest((out / MANIFEST).read_bytes()).files}
    except InvalidInput as error:
        raise Conflict(f"exists and is not a bundle: {error}; name another directory, or remove it", field=str(out)) from None
    found = (path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir() or path.is_symlink())
    if strange := sorted(set(found) - own):
        raise Conflict(f"holds {strange[0]}, which is not the bundle's; name another directory, or remove it", field=str(out))


def _fill(order: Order, staging: Path, say: Callable[[str], None]) -> None:
    say("model")
    external = external_files(order.model)
    if clash := sorted(set(external) & {*_OWN, MODEL}):
        raise InvalidInput(
            f"the model's weights are in a file named {clash[0]}, which a bundle needs itself", field=order.model.name
        )
    _copy(order.model, staging / MODEL)
    for name in external:
        _copy(order.model.parent / name, staging / name)
    session = load(staging / MODEL, SessionSettings(device="cpu"))
    signature = ModelSignature(MODEL, session.inputs, session.outputs, order.rows_independent, external)
    manifest = Manifest(order.name, order.version, signature, order.postprocess, {}, order.card)
    spec = _add_features(order, staging, session, say) if order.features is not None else None
    encoder = Encoder((staging / ENCODER).read_bytes(), spec, files=files_beside(spec, staging)) if spec is not None else None
    pipeline = make_pipeline(manifest, encoder, session)
    say("trying whether rows are independent")
    tensors = run_frame(pipeline, order.examples.head(order.golden_rows)).tensors if order.examples is not None else None
    independent = rows_independent(session, tensors, order.rows_independent)
    manifest = replace(manifest, model=replace(signature, rows_independent=independent))
    if order.examples is not None:
        say(f"running {len(order.examples)} example rows")
        _add_examples(order, staging, replace(pipeline, manifest=manifest))
    if order.fuse and spec is not None:
        from penstock_cli.bundle.fusing import fuse

        say("fusing")
        (staging / FUSED).write_bytes(fuse(spec, staging / MODEL))
        manifest = replace(manifest, fused=FUSED)
    say("digests")
    names = sorted(str(path.relative_to(staging).as_posix()) for path in staging.rglob("*") if path.is_file())
    files = {name: digest_file(staging / name, name) for name in names}
    (staging / MANIFEST).write_bytes(write_manifest(replace(manifest, files=files)))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _add_features(order: Order, staging: Path, session: Session, say: Callable[[str], None]) -> FeatureSpec:
    assert order.features is not None
    text = read_text(order.features)
    spec = read_spec(text)
    if order.feature_repo is not None:
        from penstock_cli.features.stamp import stamp_layout

        say("reading the feature repository")
        had_one = spec.store is not None
        spec = replace(spec, store=stamp_layout(order.feature_repo, spec))
        assert spec.store is not None
        text = write_spec(spec) if had_one else f"{text.rstrip()}\n\n{write_document({'store': store_fields(spec.store)})}"
        read_spec(text)
    elif spec.sets and spec.store is None:
        raise InvalidInput(
            "the spec reads stored features; give the Feast repository that defines them with --feature_repo",
            field="features.yaml: sets",
        )
    if order.fuse:
        refuse_fusing(spec)
    _add_files(order.features.parent, staging, plan(spec).files())
    say("compiling the encoder")
    check_tensors(spec, session.inputs)
    (staging / FEATURES).write_text(text, encoding="utf-8")
    (staging / ENCODER).write_bytes(compile_encoder(spec))
    return spec


def _add_files(folder: Path, staging: Path, names: Sequence[str]) -> None:
    """The files that the spec names, from beside it. Raises InvalidInput for a name that leads elsewhere, or that is taken."""
    for name in names:
        check_file_name(name, "features.yaml")
        if name in (*_OWN, MODEL) or (staging / name).exists():
            raise InvalidInput(f"{name} is a file that a bundle needs itself; give it another name", field="features.yaml")
        if not (folder / name).is_file():
            raise InvalidInput("is named by features.yaml and not there", field=str(folder / name))
        _copy(folder / name, staging / name)


def _add_examples(order: Order, staging: Path, pipeline: Pipeline) -> None:
    from penstock_cli.table import plain_rows

    results = run_frame(pipeline, order.examples)
    kept = min(order.golden_rows, len(order.examples), _affordable_rows(results))
    names = [feature.feature.name for feature in pipeline.encoder.plan.inputs] if pipeline.encoder else list(results.tensors)
    rows = plain_rows(order.examples[names].head(kept))
    # Run by themselves: how far texts are padded depends on what they are run with.
    few = run_frame(pipeline, order.examples.head(kept))
    golden = write_golden(rows, few.tensors, few.outputs, few.predictions, order.now)
    (staging / GOLDEN).write_bytes(golden)
    (staging / PROFILE).write_bytes(_profile(pipeline, results))


def _profile(pipeline: Pipeline, results: Results) -> bytes:
    return write_profile(pipeline.encoder.plan if pipeline.encoder else None, results.columns, results.predictions)


def _affordable_rows(results: Results) -> int:
    """So many rows that golden.jsonl stays small: images are many numbers each."""
    a_row: int = sum(array[0].size for array in (*results.tensors.values(), *results.outputs.values()))
    return max(1, MAX_GOLDEN_ELEMENTS // max(a_row, 1))
