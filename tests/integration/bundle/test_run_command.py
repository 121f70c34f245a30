"""`penstock bundle run`: rows in, predictions out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from click.testing import Result

from penstock.bundle.reading import open_bundle

Command = Callable[..., Result]
Fails = Callable[..., None]
Build = Callable[..., Path]


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


def test_run_says_what_is_wrong(build: Build, command: Command, workshop: Path, fails: Fails) -> None:
    bundle = build()
    fails(command("run", bundle, stdin='{"distance": "far", "carrier": "AA"}'), "rows[0].distance: expected a number, got 'far'")
    fails(command("run", bundle, stdin='{"carrier": "AA"}'), "rows[0].distance: is required, and has no value")
    fails(command("run", bundle, stdin="{"), "standard input line 1: not JSON")
    fails(command("run", bundle, stdin="[1]"), "rows[0]: expected an object")
    fails(command("run", bundle, workshop / "nothing.csv"), "no such file")


def test_run_without_features_takes_the_models_own_inputs(workshop: Path, command: Command, fails: Fails) -> None:
    assert command("build", workshop / "model.onnx", "-o", workshop / "plain").exit_code == 0
    answer = command("run", workshop / "plain", stdin='{"x": [1, 2, 3, 4]}').output
    assert np.allclose(json.loads(answer)["outputs"]["p"], [0.022, 0.978], atol=0.1)
    fails(command("run", workshop / "plain", stdin='{"y": [1]}'), "x: the rows have no such input")
    fails(command("run", workshop / "plain", stdin='{"x": ["a"]}'), "x: expected FP32 values of shape [4] a row")
