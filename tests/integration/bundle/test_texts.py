"""Bundles of texts through the commands: the tokenizer is a file of the bundle like every other; nothing is lost on the way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import TensorProto, helper, numpy_helper

from penstock.bundle.reading import open_bundle
from penstock.features.reading import read_spec
from penstock.testing.tokenizer import SPECIAL, WORDS, tokenizer_json

Command = Callable[..., Result]
Fails = Callable[..., None]

FEATURES = """\
formatVersion: 1
features:
  - name: text
    from: request
    type: string
    missing: {default: late}
    encode: {tokenise: {file: text/tokenizer.json, maxLength: 6}}
tensors:
  input_ids: [text]
  mask: {features: [text], part: attention_mask, type: float32}
"""
DESCRIBE = """\
name: texts
postprocess: {kind: zeroShot, from: y, feature: text, temperature: 0.2, labels: [late, team]}
"""
CSV = "n,text\n1,the flight was late\n2,late\n3,\n4,the team won the game and it was on time and then it was late\n"
WIDTH = len(SPECIAL) + len(WORDS)


def save_model(path: Path, tokens: int | str = "tokens") -> None:
    """`y` [rows, width]: how often each word is in a text, but for the special ones, by one-hot rows of ids and a mask."""
    table = np.eye(WIDTH, dtype=np.float32)
    table[: len(SPECIAL)] = 0
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["found", "weights"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["y"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["rows", tokens]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["rows", tokens]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", WIDTH])],
        initializer=[
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "text").mkdir()
    (tmp_path / "text/tokenizer.json").write_bytes(tokenizer_json())
    (tmp_path / "features.yaml").write_text(FEATURES)
    (tmp_path / "describe.yaml").write_text(DESCRIBE)
    (tmp_path / "rows.csv").write_text(CSV)
    save_model(tmp_path / "model.onnx")
    return tmp_path


def build(command: Command, texts: Path, *options: Any) -> Result:
    given = ("--features", texts / "features.yaml", "--examples", texts / "rows.csv", "--describe", texts / "describe.yaml")
    return command("build", texts / "model.onnx", *given, *options, "-o", texts / "bundle")


def test_a_tokenizer_is_digested_and_a_changed_one_is_named(command: Command, texts: Path, fails: Fails) -> None:
    assert build(command, texts).exit_code == 0
    bundle = open_bundle(texts / "bundle")
    assert "text/tokenizer.json" in bundle.manifest.small_files()
    assert bundle.files["text/tokenizer.json"] == tokenizer_json()
    verified = command("verify", texts / "bundle")
    assert "golden rows agree" in verified.output
    (texts / "bundle/text/tokenizer.json").write_bytes(tokenizer_json(padding=None, truncation={}))
    fails(command("verify", texts / "bundle"), "text/tokenizer.json: has", "it was changed")


def test_golden_rows_hold_tokens_whatever_they_were_padded_beside(command: Command, texts: Path) -> None:
    assert build(command, texts, "--golden_rows", "2").exit_code == 0
    lines = [json.loads(line) for line in (texts / "bundle/golden.jsonl").read_text().splitlines()]
    assert [line["tensors"]["input_ids"] for line in lines] == [[2, 4, 15, 11, 14, 3], [2, 14, 3, 0, 0, 0]]
    assert [line["prediction"] for line in lines] == [{}, {}]
    assert "2 golden rows agree" in command("verify", texts / "bundle").output
    assert json.loads((texts / "bundle/profile.json").read_text())["rows"] == 4


def test_run_judges_labels_and_says_what_was_cut(command: Command, texts: Path, fails: Fails) -> None:
    assert build(command, texts).exit_code == 0
    done = command("run", texts / "bundle", texts / "rows.csv", "--json")
    first, second, default, cut = json.loads(done.stdout)["predictions"]
    assert [p["label"] for p in (first, second, default, cut)] == ["late", "late", "late", "team"]
    assert second["scores"] == pytest.approx(default["scores"])
    assert [p["truncated"] for p in (first, default, cut)] == [[], [], ["text"]]
    done = command("run", texts / "bundle", "--labels", "team, flight", stdin='{"text": "the flight"}\n')
    assert json.loads(done.stdout)["label"] == "flight"
    fails(command("run", texts / "bundle", "--labels", "a,a", stdin='{"text": "x"}\n'), "options.labels[1]: 'a' is given twice")


def test_show_and_pack_have_the_tokenizer_too(command: Command, texts: Path) -> None:
    assert build(command, texts).exit_code == 0
    shown = json.loads(command("show", texts / "bundle", "--json").stdout)
    assert shown["postprocess"]["kind"] == "zeroShot"
    assert shown["features"][0]["encode"] == ["tokenise"]
    assert "text/tokenizer.json" in shown["files"]
    assert command("pack", texts / "bundle", "-o", texts / "bundle.tar").exit_code == 0
    assert tokenizer_json() in (texts / "bundle.tar").read_bytes()


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, ("--fuse",), "--fuse: text is taken apart by tokenise, which no operator can do"),
        ({"text/tokenizer.json": "gone.json"}, (), "is named by features.yaml and not there"),
        (
            {"text/tokenizer.json": "../tokenizer.json"},
            (),
            "expected the name of a file inside the bundle, got '../",
        ),
        ({"text/tokenizer.json": "model.onnx"}, (), "model.onnx is a file that a bundle needs itself"),
        ({"part: attention_mask, type: float32": "part: attention_mask"}, (), "makes INT64, the model takes FP32"),
        ({"maxLength: 6": "maxLength: 2"}, (), "maxLength is 2, and 2 tokens are added to every text"),
    ],
)
def test_build_says_what_is_wrong_with_texts(
    command: Command, texts: Path, fails: Fails, change: dict[str, str], options: tuple[str, ...], said: str
) -> None:
    spec = FEATURES
    for old, new in change.items():
        spec = spec.replace(old, new)
    (texts / "features.yaml").write_text(spec)
    fails(build(command, texts, *options), said)
    assert not (texts / "bundle").exists()


def test_a_model_of_one_length_needs_texts_of_that_length(command: Command, texts: Path, fails: Fails) -> None:
    save_model(texts / "model.onnx", tokens=6)
    fails(
        build(command, texts),
        "makes [-1, -1], the model takes [-1, 6]; make all texts as long, with maxLength and pad: maxLength",
    )
    (texts / "features.yaml").write_text(FEATURES.replace("maxLength: 6", "maxLength: 6, pad: maxLength"))
    assert build(command, texts).exit_code == 0


WORDS_DRAFT = """\
formatVersion: 1
features:
  - {name: text, from: request, type: string, encode: [words, {ngramCounts: {ngrams: [1, 2], minCount: 2}}, tfIdf]}
  - {name: tags, from: request, type: list<string>, length: 3, missing: {default: []}, encode: multiHot}
  - {name: price, from: request, type: float64, encode: {quantileMap: {count: 3}}}
tensors: {x: [text, tags, price]}
"""


def test_words_lists_and_quantiles_are_fitted_and_built(
    command: Command, tmp_path: Path, save_model: Callable[..., None], fails: Fails
) -> None:
    rows = [
        {"text": "not late", "tags": ["wifi"], "price": 1.0},
        {"text": "Late, not LATE", "tags": ["pool", "wifi"], "price": 3.0},
        {"text": "on time", "tags": None, "price": 10.0},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "draft.yaml").write_text(WORDS_DRAFT)
    fitted = command("fit", tmp_path / "draft.yaml", "--data", tmp_path / "rows.jsonl", "-o", tmp_path / "features.yaml")
    assert fitted.exit_code == 0, fitted.output
    text, tags, price = read_spec((tmp_path / "features.yaml").read_text()).features
    assert text.encode[1].parameters["vocabulary"] == ["late", "not", "not late"]
    assert text.encode[2].parameters["idf"] == pytest.approx([np.log(4 / 3) + 1] * 3)
    assert tags.encode[0].parameters["categories"] == ["pool", "wifi"]
    assert price.encode[0].parameters["quantiles"] == [1.0, 3.0, 10.0]
    save_model(tmp_path / "model.onnx", width=6)
    given = ("--features", tmp_path / "features.yaml", "--examples", tmp_path / "rows.jsonl", "--labels", "no,yes")
    built = command("build", tmp_path / "model.onnx", *given, "-o", tmp_path / "bundle")
    assert built.exit_code == 0, built.output
    assert "3 golden rows agree" in command("verify", tmp_path / "bundle").output
    fails(command("build", tmp_path / "model.onnx", *given, "--fuse", "-o", tmp_path / "other"), "taken apart by words")
