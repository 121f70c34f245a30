"""Triton's own client calls the model repository on a serving port that was opened for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.testing import models
from penstock.testing.server import ServerProcess

http = pytest.importorskip("tritonclient.http", reason="tritonclient is missing: pip install 'tritonclient[http,grpc]'")
from tritonclient.utils import InferenceServerException  # noqa: E402


def test_tritons_client_lists_loads_and_unloads(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(models.doubled())
    options = ("--model_name", "m", "--model_dir", str(tmp_path), "--drain_delay_s", "0", "--profile_s", "0", "--repository_api")
    with (
        ServerProcess("penstock_predictor", *options, "true") as server,
        http.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
    ):
        states: Any = {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}
        assert states == {"a": "READY", "b": "READY"}
        client.unload_model("b")
        assert not client.is_model_ready("b")
        states = {entry["name"]: (entry["state"], entry["reason"]) for entry in client.get_model_repository_index()}
        assert states == {"a": ("READY", ""), "b": ("UNAVAILABLE", "not loaded")}
        client.load_model("b")
        assert client.is_model_ready("b")
        given = http.InferInput("x", [1, 3], "FP32")
        given.set_data_from_numpy(np.float32([[1, 2, 3]]))
        assert client.infer("b", [given]).as_numpy("y").tolist() == [[2, 4, 6]]
        with pytest.raises(InferenceServerException, match="holds no model 'c'"):
            client.load_model("c")
        with pytest.raises(InferenceServerException, match=r"parameters\.config: no parameters are known"):
            client.load_model("a", config="{}")
        with pytest.raises(InferenceServerException, match="no model 'c'"):
            client.unload_model("c")
