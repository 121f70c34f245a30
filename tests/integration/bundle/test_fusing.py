"""`penstock bundle build --fuse`: one graph that is the same as encoder and model one after the other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from penstock.bundle.reading import open_bundle
from penstock.errors import InvalidInput
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.onnx import load

Command = Callable[..., Result]
Fails = Callable[..., None]
Build = Callable[..., Path]


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


def test_a_model_that_cannot_be_lifted_is_refused(workshop: Path, save_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock_cli.bundle import fusing

    def refuse(model: Any, opset: int) -> None:
        raise RuntimeError("No Adapter for Scan\nfrom version 8 to 9")

    save_model(workshop / "old.onnx", opset=12)
    monkeypatch.setattr(fusing.version_converter, "convert_version", refuse)
    with pytest.raises(InvalidInput, match=r"old\.onnx: cannot be lifted to opset 17: No Adapter for Scan; export it anew"):
        fusing.fuse(read_spec((workshop / "features.yaml").read_text()), workshop / "old.onnx")
