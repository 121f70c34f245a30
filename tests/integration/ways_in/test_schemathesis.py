"""schemathesis, unmodified, over `/openapi.json` of real servers: every check, every path. `make fuzz` has thousands of cases."""

from pathlib import Path

import pytest

from penstock.testing import models
from penstock.testing.documents import Judged, judge_document
from penstock.testing.programs import ProgramMissing
from penstock.testing.server import ServerProcess

WITHIN_S = 280


def judged(server: ServerProcess, directory: Path, leave_out: str) -> Judged:
    """Of one model and one version, which stand for all."""
    try:
        return judge_document(server.url, directory, examples=2, leave_out=leave_out, timeout_s=WITHIN_S)
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.slow
@pytest.mark.timeout(WITHIN_S + 60)
def test_every_path_answers_as_it_is_documented(server: ServerProcess, tmp_path: Path) -> None:
    # NDJSON and Arrow are sent by `test_documentation.py`.
    found = judged(server, tmp_path, "pictures|versions")
    assert found.good, found.said[-8000:]
    assert found.cases > 500


@pytest.mark.slow
@pytest.mark.timeout(WITHIN_S + 60)
def test_so_does_every_path_of_a_predictor(tmp_path: Path) -> None:
    for name, model in {"mlp": models.mlp((3, 8, 2)), "labels": models.labels()}.items():
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.onnx").write_bytes(model)
    options = ("--model_name", "m", "--model_dir", str(tmp_path / "models"), "--profile_s", "0", "--repository_api", "true")
    with ServerProcess("penstock_predictor", "--drain_delay_s", "0", *options) as server:
        # A load would take longer than all else here; `test_reloading.py` has them.
        found = judged(server, tmp_path, "versions|labels|load$")
    assert found.good, found.said[-8000:]
    assert found.cases > 200
