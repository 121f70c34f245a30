"""A small model, its feature spec and rows, as files; and the `bundle` commands, run as a user runs them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from penstock_cli.bundle import bundle

DRAFT = """\
# What the model looks at.
formatVersion: 1
features:
  - {name: distance, from: request, type: float32, encode: [log1p, standardise]}
  - {name: carrier, from: request, type: string, missing: {default: "??"}, encode: {oneHot: {unseen: zeros}}}
  - {name: seats, from: request, type: int64, missing: {default: 149}, encode: standardise}
tensors: {x: [distance, carrier, seats]}
"""
CSV = """\
distance,carrier,seats,late
100,AA,150,1
200,NO,,0
300.5,AA,100,1
1e3,NO,9007199254740993,0
"""


def save_model(
    path: Path,
    *,
    width: int = 4,
    external: bool = False,
    opset: int = 17,
    names: tuple[str, str] = ("x", "p"),
    hidden: str = "h",
    scale: float = 1.0,
) -> None:
    """`p` [rows, 2] = softmax(x [rows, width] W), with W in `weights.bin` if external."""
    values = np.linspace(-scale, scale, width * 2, dtype=np.float32)
    weights = numpy_helper.from_array(values.reshape(width, 2), "W")
    source, target = names
    graph = helper.make_graph(
        [helper.make_node("MatMul", [source, "W"], [hidden]), helper.make_node("Softmax", [hidden], [target], axis=1)],
        "model",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, ["rows", 2])],
        initializer=[weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)


@pytest.fixture
def command() -> Callable[..., Result]:
    """Run `penstock bundle …`; its result. Exceptions that are no failures on purpose fail the test."""

    def run(*arguments: Any, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(bundle, [str(argument) for argument in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def workshop(tmp_path: Path, command: Callable[..., Result]) -> Path:
    """A directory with model.onnx, draft.yaml, rows.csv and features.yaml, fitted on the rows."""
    (tmp_path / "draft.yaml").write_text(DRAFT)
    (tmp_path / "rows.csv").write_text(CSV)
    save_model(tmp_path / "model.onnx")
    result = command("fit", tmp_path / "draft.yaml", "--data", tmp_path / "rows.csv", "-o", tmp_path / "features.yaml")
    assert result.exit_code == 0, result.output
    return tmp_path


@pytest.fixture
def build(workshop: Path, command: Callable[..., Result]) -> Callable[..., Path]:
    """Build a bundle of the workshop's files into `out`; further options as given."""

    def run(*options: Any, out: str = "bundle", model: str = "model.onnx") -> Path:
        features = ("--features", workshop / "features.yaml", "--examples", workshop / "rows.csv")
        arguments = ("build", workshop / model, *features, "--name", "flights", "--version", "7", "--labels", "no,yes", "--json")
        result = command(*arguments, *options, "-o", workshop / out)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["name"] == "flights"
        return workshop / out

    return run


@pytest.fixture(name="save_model")
def _save_model() -> Callable[..., None]:
    return save_model


@pytest.fixture
def fails() -> Callable[..., None]:
    """Check that a command failed, and said certain words."""

    def check(result: Result, *said: str) -> None:
        assert result.exit_code != 0
        for words in said:
            assert words in result.output, result.output

    return check
