"""`penstock bundle` as a user runs it: what each command makes, and what it says when it cannot."""

import json
import sqlite3
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
from penstock.errors import InvalidInput
from penstock.features.document import read_document, write_document
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.features.spec import StoreLayout, ViewLayout
from penstock.onnx import load

Command = Callable[..., Result]
Build = Callable[..., Path]


def fails(result: Result, *said: str) -> None:
    assert result.exit_code != 0
    for words in said:
        assert words in result.output, result.output


def test_help_names_every_command_and_each_explains_itself(command: Command) -> None:
    listed = command("--help").output
    for name in ("fit", "build", "verify", "show", "pack", "run"):
        assert f"\n  {name} " in listed
        assert "Usage:" in command(name, "--help").output
    fails(command("biuld"), "No such command")


def test_fit_reads_csv_parquet_and_sql_alike(workshop: Path, command: Command) -> None:
    fitted = (workshop / "features.yaml").read_text()
    frame = pd.read_csv(workshop / "rows.csv", keep_default_na=False, dtype={"carrier": str})
    frame["seats"] = pd.array([150, None, 100, 9007199254740993], dtype="Int64")
    frame.to_parquet(workshop / "rows.parquet")
    with sqlite3.connect(workshop / "company.db") as connection:
        frame.to_sql("trips", connection, index=False)
    (workshop / "query.sql").write_text("select * from trips")
    database = ("--connection", f"sqlite:///{workshop}/company.db")
    assert command("fit", workshop / "draft.yaml", "--data", workshop / "rows.csv").stdout == fitted
    assert command("fit", workshop / "draft.yaml", "--data", workshop / "rows.parquet").stdout == fitted
    spec = read_spec(command("fit", workshop / "draft.yaml", "--sql", "select * from trips limit 3", *database).stdout)
    assert read_spec(command("fit", workshop / "draft.yaml", "--sql", workshop / "query.sql", *database).stdout) != spec
    assert spec.features[1].encode[0].parameters["categories"] == ["AA", "NO"]


def test_fit_says_what_is_wrong(workshop: Path, command: Command) -> None:
    draft = workshop / "draft.yaml"
    (workshop / "bad.csv").write_text("distance,carrier,seats\n1,AA,5\nfar,AA,5\n")
    (workshop / "short.csv").write_text("distance,carrier\n1,AA\n")
    (workshop / "rows.txt").write_text("")
    fails(command("fit", draft), "expected either --data FILE or --sql QUERY")
    fails(command("fit", draft, "--sql", "select 1"), "--sql needs --connection")
    fails(command("fit", draft, "--sql", "select", "--connection", f"sqlite:///{workshop}/no.db"), "--sql:")
    fails(command("fit", draft, "--sql", "select 1", "--connection", "nonsense"), "--sql:")
    fails(command("fit", draft, "--data", workshop / "bad.csv"), "rows[1].distance: expected float32, got 'far'")
    fails(command("fit", draft, "--data", workshop / "short.csv"), "seats: the data has no column of this name")
    fails(command("fit", draft, "--data", workshop / "rows.txt"), "expected a file that ends in .csv, .parquet or .jsonl")
    fails(command("fit", workshop / "rows.csv", "--data", workshop / "rows.csv"), "features.yaml")
    fails(command("fit", draft, "--data", workshop / "nothing.csv"), "does not exist")


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


def test_build_says_what_is_wrong(workshop: Path, command: Command, save_model: Any) -> None:
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


def test_an_older_bundle_is_replaced_and_nothing_beside_it(build: Build, command: Command, workshop: Path) -> None:
    out = build()
    assert build() == out
    (out / "data").mkdir()
    (out / "data/precious.txt").write_text("mine")
    fails(command("build", workshop / "model.onnx", "-o", out), "holds data/precious.txt, which is not the bundle's")
    assert (out / "data/precious.txt").read_text() == "mine"


def test_weights_outside_the_models_directory_are_never_opened(workshop: Path, command: Command, save_model: Any) -> None:
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
    workshop: Path, command: Command, monkeypatch: pytest.MonkeyPatch
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


def test_verify_runs_the_golden_rows(build: Build, command: Command) -> None:
    bundle = build("--golden_rows", "3")
    assert "3 golden rows agree" in command("verify", bundle).output
    found = json.loads(command("verify", bundle, "--json").stdout)
    assert found["goldenRows"] == 3
    assert found["digest"] == open_bundle(bundle).digest


def resealed(bundle: Path, name: str, content: bytes) -> None:
    """Change a file and the manifest with it, as somebody who built the bundle wrongly would."""
    from penstock.bundle.files import digest_bytes

    (bundle / name).write_bytes(content)
    document = read_document((bundle / MANIFEST).read_bytes(), MANIFEST)
    entry = digest_bytes(content)
    document["files"][name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    (bundle / MANIFEST).write_text(write_document(document))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("row", "golden.jsonl line 2: tensors.x: the encoder gives"),
        ("tensors", "golden.jsonl line 2: tensors.x: the encoder gives"),
        ("outputs", "golden.jsonl line 2: outputs.p: the model gives"),
        ("prediction", "golden.jsonl line 2: prediction: post-processing gives"),
    ],
)
def test_verify_names_the_line_and_the_part_that_differs(build: Build, command: Command, part: str, said: str) -> None:
    bundle = build()
    lines = [json.loads(line) for line in (bundle / GOLDEN).read_text().splitlines()]
    changes: dict[str, Any] = {
        "row": {**lines[1]["row"], "distance": 5.0},
        "tensors": {"x": [0.5, *lines[1]["tensors"]["x"][1:]]},
        "outputs": {"p": [0.123, 0.877]},
        "prediction": {**lines[1]["prediction"], "label": "maybe"},
    }
    lines[1][part] = changes[part]
    resealed(bundle, GOLDEN, "".join(json.dumps(line) + "\n" for line in lines).encode())
    fails(command("verify", bundle), said)


def test_verify_refuses_an_encoder_of_another_spec_and_a_model_that_is_none(
    build: Build, command: Command, workshop: Path
) -> None:
    bundle = build()
    spec = (bundle / "features.yaml").read_text()
    resealed(bundle, "features.yaml", spec.replace("name: seats", "name: chairs").replace("seats]", "chairs]").encode())
    fails(command("verify", bundle), "encoder.onnx: the graph has no input 'chairs'")
    resealed(bundle, "features.yaml", spec.encode())
    (bundle / "model.onnx").write_bytes(b"x")
    fails(command("verify", bundle), "model.onnx: has 1 bytes")
    resealed(bundle, "model.onnx", b"not a model")
    fails(command("verify", bundle), "model.onnx: not an ONNX model")
    fails(command("verify", workshop), "bundle.yaml: cannot be read")


def test_show(build: Build, command: Command) -> None:
    bundle = build()
    text = command("show", bundle).output
    for words in ("flights 7", "FP32 [-1, 4]", "independent", "log1p > standardise", "default '??'", "features.yaml"):
        assert words in text
    shown = json.loads(command("show", bundle, "--json").stdout)
    assert shown["digest"] == open_bundle(bundle).digest
    assert [feature["name"] for feature in shown["features"]] == ["distance", "carrier", "seats"]
    assert shown["tensors"] == {"x": ["distance", "carrier", "seats"]}


def test_pack_gives_the_same_bytes_and_only_the_bundles_files(build: Build, command: Command, tmp_path: Path) -> None:
    bundle = build()
    (bundle / "notes.txt").write_text("not of the bundle")
    result = command("pack", bundle, "-o", tmp_path / "one.tar", "--json")
    assert json.loads(result.stdout)["digest"] == open_bundle(bundle).digest
    (bundle / "model.onnx").touch()
    command("pack", bundle, "-o", tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        assert tar.getnames() == [MANIFEST, *sorted(open_bundle(bundle).manifest.files)]
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert open_bundle(tmp_path / "unpacked").digest == open_bundle(bundle).digest
    (bundle / "model.onnx").write_bytes(b"")
    fails(command("pack", bundle, "-o", tmp_path / "three.tar"), "model.onnx: has 0 bytes")
    assert not (tmp_path / "three.tar").exists()


def test_run_predicts_rows_from_files_and_standard_input(build: Build, command: Command, workshop: Path) -> None:
    bundle = build()
    from_file = [json.loads(line) for line in command("run", bundle, workshop / "rows.csv").output.splitlines()]
    assert len(from_file) == 4
    assert set(from_file[0]) == {"label", "scores"}
    rows = [{"distance": 100.0, "carrier": "AA", "seats": 150}, {"distance": 200, "carrier": "NO"}]
    for stdin in (json.dumps(rows), "\n".join(map(json.dumps, rows)), json.dumps({"rows": rows})):
        answer = json.loads(command("run", bundle, "--json", stdin=stdin).stdout)
        assert answer["predictions"] == from_file[:2]
        assert answer["bundle"] == open_bundle(bundle).label
    by_csv = command("run", bundle, "-", "--format", "csv", stdin=(workshop / "rows.csv").read_text())
    assert [json.loads(line) for line in by_csv.output.splitlines()] == from_file
    assert len(command("run", bundle, workshop / "rows.csv", "--limit", "3").output.splitlines()) == 3
    assert command("run", bundle, stdin="[]").output == ""


def test_run_says_what_is_wrong(build: Build, command: Command, workshop: Path) -> None:
    bundle = build()
    fails(command("run", bundle, stdin='{"distance": "far", "carrier": "AA"}'), "rows[0].distance: expected a number, got 'far'")
    fails(command("run", bundle, stdin='{"carrier": "AA"}'), "rows[0].distance: is required, and has no value")
    fails(command("run", bundle, stdin="{"), "standard input line 1: not JSON")
    fails(command("run", bundle, stdin="[1]"), "rows[0]: expected an object")
    fails(command("run", bundle, workshop / "nothing.csv"), "no such file")


def test_run_without_features_takes_the_models_own_inputs(workshop: Path, command: Command) -> None:
    assert command("build", workshop / "model.onnx", "-o", workshop / "plain").exit_code == 0
    answer = command("run", workshop / "plain", stdin='{"x": [1, 2, 3, 4]}').output
    assert np.allclose(json.loads(answer)["outputs"]["p"], [0.022, 0.978], atol=0.1)
    fails(command("run", workshop / "plain", stdin='{"y": [1]}'), "x: the rows have no such input")
    fails(command("run", workshop / "plain", stdin='{"x": ["a"]}'), "x: expected FP32 values of shape [4] a row")


@pytest.mark.parametrize(
    ("opset", "target", "hidden"),
    [(13, "p", "h"), (17, "p", "h"), (21, "p", "h"), (17, "seats", "h"), (17, "p", "distance"), (17, "distance", "seats")],
)
def test_fused_is_the_same_as_one_after_the_other(
    build: Build, workshop: Path, save_model: Any, opset: int, target: str, hidden: str
) -> None:
    save_model(workshop / "model.onnx", opset=opset, names=("x", target), hidden=hidden, external=True)
    bundle = open_bundle(build("--fuse"))
    assert bundle.directory is not None
    assert bundle.features is not None
    assert bundle.encoder is not None
    frame = {"distance": [1.0, 1e-9, 5e30], "carrier": ["AA", None, "never seen"], "seats": [None, 2**53 + 1, -(2**63)]}
    encoder = Encoder(bundle.encoder, bundle.features)
    (expected,) = load(bundle.model_path).run(encoder.encode_frame(frame))
    fused = load(bundle.directory / "fused.onnx")
    assert {tensor.name for tensor in fused.inputs} == {"distance", "carrier", "carrier__missing", "seats", "seats__missing"}
    if target == "p":
        assert fused.outputs[0].name == "p"
    feeds = {
        "distance": np.array(frame["distance"], np.float32),
        "carrier": np.array(["AA", "", "never seen"], object),
        "carrier__missing": np.array([False, True, False]),
        "seats": np.array([0, 2**53 + 1, -(2**63)]),
        "seats__missing": np.array([True, False, False]),
    }
    np.testing.assert_array_equal(fused.run(feeds)[0], expected)


def test_verify_runs_the_fused_graph_as_well(build: Build, command: Command, workshop: Path, save_model: Any) -> None:
    bundle = build("--fuse")
    save_model(workshop / "model.onnx", scale=2)
    other = build("--fuse", out="other")
    resealed(bundle, "fused.onnx", (other / "fused.onnx").read_bytes())
    fails(command("verify", bundle), "golden.jsonl line 1: outputs.p: fused.onnx gives")


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


def test_rows_are_read_from_json_lines_and_csv_of_every_type(workshop: Path) -> None:
    from penstock_cli.table import plain_rows, read_table, typed

    text = """
formatVersion: 1
features:
  - {name: word, from: request, type: string}
  - {name: flag, from: request, type: bool, missing: keep}
  - {name: when, from: request, type: timestamp}
  - {name: many, from: request, type: list<int64>, length: 3}
tensors: {x: [flag]}
"""
    (workshop / "rows.jsonl").write_text('{"word": "007", "flag": true}\n\n{"word": "NA", "flag": null}\n')
    assert plain_rows(read_table(workshop / "rows.jsonl", None)) == [{"word": "007", "flag": True}, {"word": "NA", "flag": None}]
    assert len(read_table(workshop / "rows.jsonl", None, limit=1)) == 1
    (workshop / "types.csv").write_text(
        'word,flag,when,many,extra,note,yes\n007,true,12.5,"[1, 2]",1,a,true\nNA,,2026-01-31,,,b,\n'
    )
    assert plain_rows(read_table(workshop / "types.csv", read_spec(text))) == [
        {"word": "007", "flag": True, "when": 12.5, "many": [1, 2], "extra": 1.0, "note": "a", "yes": True},
        {"word": "NA", "flag": None, "when": "2026-01-31", "many": None, "extra": None, "note": "b", "yes": None},
    ]
    for column, value, said in [
        ("flag", "maybe", r"rows\[0\].flag: expected bool"),
        ("many", "1,2", r"rows\[0\].many: expected list"),
    ]:
        with pytest.raises(InvalidInput, match=said):
            typed(pd.DataFrame({column: [value]}), read_spec(text))
    (workshop / "rows.jsonl").write_text("[1]")
    with pytest.raises(InvalidInput, match=r"rows\[0\]: expected an object"):
        read_table(workshop / "rows.jsonl", None)
    (workshop / "broken.csv").write_text('a,b\n"1,2\n')
    (workshop / "broken.parquet").write_bytes(b"PAR1")
    for name in ("broken.csv", "broken.parquet"):
        with pytest.raises(InvalidInput, match=f"{name}: cannot be read"):
            read_table(workshop / name, None)


def test_a_model_that_cannot_be_lifted_is_refused(workshop: Path, save_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock_cli.bundle import fusing

    def refuse(model: Any, opset: int) -> None:
        raise RuntimeError("No Adapter for Scan\nfrom version 8 to 9")

    save_model(workshop / "old.onnx", opset=12)
    monkeypatch.setattr(fusing.version_converter, "convert_version", refuse)
    with pytest.raises(InvalidInput, match=r"old\.onnx: cannot be lifted to opset 17: No Adapter for Scan; export it anew"):
        fusing.fuse(read_spec((workshop / "features.yaml").read_text()), workshop / "old.onnx")
