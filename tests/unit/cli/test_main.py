"""The `penstock` command: help, wrong usage, and errors with a remedy instead of stack traces."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from penstock.errors import InvalidInput, NotReady, UpstreamUnavailable
from penstock_cli.__main__ import main
from penstock_cli.errors import Failure, run_reported
from penstock_transformer.broker.port import BrokerError


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["serve", "--help"], ["predict", "--help"]])
def test_help_tells_what_there_is(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "Usage: penstock" in capsys.readouterr().out


def test_help_imports_nothing_that_takes_time() -> None:
    code = "import sys; from penstock_cli.__main__ import main; main(['--help']); print([m for m in sys.modules if m in %r])"
    heavy = ["numpy", "onnxruntime", "fastapi", "feast", "pandas", "uvicorn", "rich"]
    done = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["sreve"], "there is no command 'sreve'; expected serve"),
        (["features", "everything"], "expected apply or load or stream or show or training-set"),
        (["predict", "--record", "a", "--timeout", "-1"], "not in the range"),
        (["serve"], "Missing argument"),
        (["serve", "x", "--http_port", "many"], "expected a whole number"),
        (["serve", "x", "--log_level", "loud"], "expected one of debug"),
        (["serve", "x", "--nonsense"], "No such option"),
        (["serve", "/nowhere", "--webhook_http", "--log_level", "loud"], "expected one of debug"),
        (["serve", "/nowhere", "--webhook_http", "maybe"], "expected true or false"),
        (["predict"], "give one of --record"),
        (["predict", "--row", "{}", "--record", "a"], "give one of --record"),
        (["predict", "--file", "/nowhere.csv"], "does not exist"),
    ],
)
def test_wrong_usage_is_status_2_with_what_was_expected(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("penstock")


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error, status, words",
    [
        (Failure("it broke", "Mend it."), 1, "Error: it broke\nMend it."),
        (InvalidInput("expected a, got b", field="features.yaml"), 1, "Error: features.yaml: expected a, got b"),
        (NotReady("starting"), 1, "/readyz"),
        (FileNotFoundError(2, "No such file or directory", "x.yaml"), 1, "Error: x.yaml: No such file"),
        (click.UsageError("no"), 2, "no"),
        (KeyboardInterrupt(), 130, "Stopped."),
        (SystemExit(3), 3, ""),
        (SystemExit("text"), 1, ""),
        (SystemExit(None), 0, ""),
        (ZeroDivisionError("division by zero"), 70, "a fault in penstock: ZeroDivisionError"),
    ],
)
def test_every_error_has_a_status_and_words(
    error: BaseException, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_reported(lambda: _raise(error)) == status
    shown = capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown


def test_what_answered_is_not_said_to_be_away(capsys: pytest.CaptureFixture[str]) -> None:
    away, refused = "Is it running", "there is no topic"
    assert run_reported(lambda: _raise(UpstreamUnavailable("no answer"))) == 1
    assert away in capsys.readouterr().err
    assert run_reported(lambda: _raise(BrokerError(f"{refused} x.dead-letters"))) == 1
    shown = capsys.readouterr().err
    assert refused in shown
    assert away not in shown


def test_a_fault_shows_its_trace_on_demand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PENSTOCK_DEBUG", "1")
    assert run_reported(lambda: _raise(ZeroDivisionError())) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_directory_without_a_model_is_a_failure_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["serve", str(tmp_path)], ["serve", str(tmp_path / "nowhere")]):
        assert main(arguments) == 1
        assert "penstock bundle build" in capsys.readouterr().err
