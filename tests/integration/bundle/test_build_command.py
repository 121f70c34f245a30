"""`penstock bundle build`, `show` and `pack`, run as a user runs them."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from click.testing import Result

from penstock.bundle.golden import GOLDEN
from penstock.bundle.manifest_text import MANIFEST
from penstock.bundle.reading import open_bundle
from penstock.features.document import read_document, write_document
from penstock.features.spec import StoreLayout, ViewLayout

Command = Callable[..., Result]
Fails = Callable[..., None]
Build = Callable[..., Path]


def test_help_names_every_command_and_each_explains_itself(command: Command, fails: Fails) -> None:
    listed = command("--help").output
    for name in ("fit", "build", "verify", "show", "pack", "run"):
        assert f"\n  {name} " in listed
        assert "Usage:" in command(name, "--help").output
    fails(command("biuld"), "there is no command")


def test_building_twice_gives_the_same_bytes(build: Build, workshop: Path) -> None:
    first, second = build("--fuse", out="one"), build("--fuse", out="two")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    again = build("--fuse", out="one")
    assert open_bundle(again).digest == open_bundle(second).digest
    assert not [path for path in workshop.iterdir() if path.name.startswith(".")]


def test_a_bundle_keeps_the_spec_as_it_was_written(build: Build, workshop: Path) -> None:
    text = "# mine\n" + (workshop / "features.yaml").read_text()
    (workshop / "features.yaml").write_text(text)
    assert (build() / "features.yaml").read_text() == text


def test_a_description_fills_the_manifest_and_options_win(build: Build, workshop: Path) -> None:
    document = {
        "postprocess": {"from": "p", "kind": "classification", "labels": ["a", "b"], "threshold": 0.2},
        "card": {"owner": "ops@example.com", "evaluation": {"auc": 0.74}},
        "rowsIndependent": True,
    }
    (workshop / "describe.yaml").write_text(write_document(document))
    manifest = open_bundle(build("--describe", workshop / "describe.yaml", "--threshold", "0.35")).manifest
    assert manifest.postprocess.labels == ("no", "yes")
    assert manifest.postprocess.threshold == 0.35
    assert manifest.card == document["card"]
    assert manifest.model.rows_independent is True


def test_build_says_what_is_wrong(workshop: Path, command: Command, save_model: Any, fails: Fails) -> None:
    def build(*options: Any, model: str = "model.onnx") -> Result:
        return command("build", workshop / model, "-o", workshop / "out", *options)

    features = ("--features", workshop / "features.yaml")
    (workshop / "not.onnx").write_bytes(b"not a model")
    save_model(workshop / "wide.onnx", width=5)
    save_model(workshop / "other.onnx", names=("y", "p"))
    (workshop / "double.yaml").write_text((workshop / "features.yaml").read_text().replace("x: [distance", "x: [seats, distance"))
    typed = read_document((workshop / "features.yaml").read_text(), "f")
    typed["tensors"]["x"] = {"features": typed["tensors"]["x"], "type": "float64"}
    (workshop / "typed.yaml").write_text(write_document(typed))
    (workshop / "empty.csv").write_text("distance,carrier,seats\n")
    (workshop / "rejected.csv").write_text("distance,carrier,seats\n1,AA,2\n,AA,2\n")
    (workshop / "describe.yaml").write_text("nmae: flights")
    fails(build(model="not.onnx"), "not.onnx: not an ONNX model")
    fails(build(*features, model="wide.onnx"), "tensors.x: makes [-1, 4], the model takes [-1, 5]")
    fails(build(*features, model="other.onnx"), "tensors.x: the model has no such input; it has y")
    fails(build("--features", workshop / "double.yaml"), "tensors.x[3]: seats is given twice")
    fails(
        build("--features", workshop / "typed.yaml"), "makes FP64, the model takes FP32; write x: {features: […], type: float32}"
    )
    fails(build(*features, "--examples", workshop / "empty.csv"), "no rows")
    fails(build(*features, "--examples", workshop / "rejected.csv"), "rows[1].distance: is required, and has no value")
    fails(build("--describe", workshop / "describe.yaml"), "nmae: unknown field; did you mean name?")
    fails(build("--name", "a b"), "name: expected up to 128 letters")
    fails(build("--labels", "a,b,c", "--from", "p"), "postprocess.labels")
    fails(build("--from", "q", "--kind", "regression"), "postprocess.from: no output 'q'")
    fails(build("--fuse"), "nothing to fuse")
    assert not (workshop / "out").exists()
    assert not [path for path in workshop.iterdir() if path.name.startswith(".")]
    (workshop / "out").mkdir()
    (workshop / "out/precious.txt").write_text("mine")
    fails(build(), "exists and is not a bundle")
    (workshop / "out/bundle.yaml").write_text("my own notes")
    fails(build(), "exists and is not a bundle: bundle.yaml")
    assert (workshop / "out/precious.txt").read_text() == "mine"


def test_an_older_bundle_is_replaced_and_nothing_beside_it(build: Build, command: Command, workshop: Path, fails: Fails) -> None:
    out = build()
    assert build() == out
    (out / "data").mkdir()
    (out / "data/precious.txt").write_text("mine")
    fails(command("build", workshop / "model.onnx", "-o", out), "holds data/precious.txt, which is not the bundle's")
    assert (out / "data/precious.txt").read_text() == "mine"


def test_weights_outside_the_models_directory_are_never_opened(
    workshop: Path, command: Command, save_model: Any, fails: Fails
) -> None:
    save_model(workshop / "big.onnx", external=True)
    (workshop / "weights.bin").rename(workshop.parent / "weights.bin")
    model = onnx.load(workshop / "big.onnx", load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../weights.bin"
    (workshop / "big.onnx").write_bytes(model.SerializeToString())
    fails(command("build", workshop / "big.onnx", "-o", workshop / "out"), "lies outside the model's directory")


def test_rows_that_interact_are_found_out(workshop: Path, command: Command) -> None:
    from penstock.testing.models import centred

    (workshop / "centred.onnx").write_bytes(centred())
    result = command("build", workshop / "centred.onnx", "-o", workshop / "out")
    assert result.exit_code == 0, result.output
    assert "never batched" in result.output
    assert open_bundle(workshop / "out").manifest.model.rows_independent is False


def test_the_store_layout_is_stamped_from_the_repository(
    workshop: Path, command: Command, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    text = (workshop / "features.yaml").read_text()
    text = text.replace("name: seats\n  from: request", "name: seats\n  from: planes.seats").replace(
        "features:\n", "sets:\n  planes: {view: planes, keys: {tail: tail}}\nfeatures:\n", 1
    )
    (workshop / "features.yaml").write_text(text)
    arguments = ("build", workshop / "model.onnx", "--features", workshop / "features.yaml", "-o", workshop / "out")
    fails(command(*arguments), "give the Feast repository that defines them with --feature_repo")
    layout = StoreLayout("flights", 3, {"planes": ViewLayout({"tail": "string"}, {"seats": "int64"}, 3600.0)})
    monkeypatch.setattr("penstock_cli.features.stamp.stamp_layout", lambda path, spec: layout)
    result = command(*arguments, "--feature_repo", workshop)
    assert result.exit_code == 0, result.output
    bundle = open_bundle(workshop / "out")
    assert bundle.features is not None
    assert bundle.features.store == layout
    assert bundle.read("features.yaml").decode().startswith(text.rstrip())


def test_show(build: Build, command: Command) -> None:
    bundle = build()
    text = command("show", bundle).output
    for words in ("flights 7", "FP32 [-1, 4]", "independent", "log1p > standardise", "default '??'", "features.yaml"):
        assert words in text
    shown = json.loads(command("show", bundle, "--json").stdout)
    assert shown["digest"] == open_bundle(bundle).digest
    assert [feature["name"] for feature in shown["features"]] == ["distance", "carrier", "seats"]
    assert shown["tensors"] == {"x": ["distance", "carrier", "seats"]}


def test_pack_gives_the_same_bytes_and_only_the_bundles_files(
    build: Build, command: Command, tmp_path: Path, fails: Fails
) -> None:
    bundle = build()
    (bundle / "notes.txt").write_text("not of the bundle")
    result = command("pack", bundle, "-o", tmp_path / "one.tar", "--json")
    assert json.loads(result.stdout)["digest"] == open_bundle(bundle).digest
    (bundle / "model.onnx").touch()
    command("pack", bundle, "-o", tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        assert tar.getnames() == [MANIFEST, *sorted(open_bundle(bundle).manifest.files)]
        # An attribute, for Python 3.11.2 knows no filters.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(tmp_path / "unpacked")
    assert open_bundle(tmp_path / "unpacked").digest == open_bundle(bundle).digest
    (bundle / "model.onnx").write_bytes(b"")
    fails(command("pack", bundle, "-o", tmp_path / "three.tar"), "model.onnx: has 0 bytes")
    assert not (tmp_path / "three.tar").exists()


@pytest.mark.parametrize("verb", ["pack", "show", "verify", "run"])
def test_a_folder_with_a_model_alone_is_no_bundle_and_says_what_makes_one(
    tmp_path: Path, command: Command, save_model: Any, fails: Fails, verb: str
) -> None:
    save_model(tmp_path / "model.onnx")
    fails(command(verb, tmp_path), "Error: bundle.yaml: cannot be read", "`penstock bundle build` writes it")


def test_pictures_are_golden_rows_too(workshop: Path, command: Command, save_model: Any) -> None:
    import io

    from PIL import Image

    feature = "{name: photo, from: request, type: image, encode: {image: {resize: [2, 2], mode: grey, layout: nhwc}}}"
    (workshop / "photo.yaml").write_text(f"formatVersion: 1\nfeatures: [{feature}]\ntensors: {{x: [photo]}}\n")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Flatten", ["x"], ["p"])],
        "model",
        [onnx.helper.make_tensor_value_info("x", 1, ["rows", 2, 2, 1])],
        [onnx.helper.make_tensor_value_info("p", 1, ["rows", 4])],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), workshop / "photo.onnx"
    )
    pixels = io.BytesIO()
    Image.new("L", (2, 2), 51).save(pixels, "PNG")
    pd.DataFrame({"photo": [pixels.getvalue()] * 3}).to_parquet(workshop / "photos.parquet")
    options = ("--features", workshop / "photo.yaml", "--examples", workshop / "photos.parquet", "--golden_rows", "2")
    result = command("build", workshop / "photo.onnx", *options, "-o", workshop / "out")
    assert result.exit_code == 0, result.output
    assert "2 golden rows agree" in command("verify", workshop / "out").output
    answer = command("run", workshop / "out", stdin=(workshop / "out" / GOLDEN).read_text().split('"row":')[1].split(',"now"')[0])
    assert np.allclose(json.loads(answer.output)["outputs"]["p"], 0.2)
