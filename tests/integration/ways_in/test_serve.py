"""`penstock serve` and `penstock predict` as a user starts them."""

import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from penstock.testing.flights import serve_flights, write_flights
from penstock.testing.server import ServerProcess
from penstock_cli.__main__ import main
from penstock_cli.all_in_one import places_of
from penstock_cli.store_check import check_store


@dataclass
class Done:
    """What a command said and how it ended."""

    returncode: int
    stdout: str
    stderr: str


Penstock = Callable[..., Done]


@pytest.fixture
def penstock(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Penstock]:
    """Runs `penstock` in this process, which costs no second start of the interpreter; logging is put back afterwards."""

    def run(*arguments: str, cwd: Path | None = None) -> Done:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        status = main(list(arguments))
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_the_program_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock_cli", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("penstock")


def test_the_greeting_has_commands_that_work(tmp_path: Path) -> None:
    with serve_flights(tmp_path) as server:
        httpx.put(f"{server.url}/records/UA%201?model=flights", json={"values": {"distance": 3, "carrier": "UA"}})
    with serve_flights(tmp_path) as server:
        commands = [line.strip() for line in server.lines if line.startswith("  curl")]
        assert any("/predict/UA%201?model=flights" in command for command in commands)
        for command in commands:
            if "FILE" not in command:
                done = subprocess.run(
                    ["bash", "-c", f"{command} -s -S --fail"], capture_output=True, text=True, timeout=30, check=False
                )
                assert done.returncode == 0, f"{command}\n{done.stderr}{done.stdout}"
                answer = json.loads(done.stdout)
                assert answer.get("result", answer)["predictions"]


def test_a_plain_model_is_served_and_greeted_too(tmp_path: Path) -> None:
    from penstock.testing import models

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/model.onnx").write_bytes(models.mlp((3, 4, 1)))
    with ServerProcess("penstock_cli.serve", str(tmp_path / "mine/model.onnx"), "--log_level", "info") as server:
        command = next(line.strip() for line in server.lines if line.startswith("  curl"))
        done = subprocess.run(["bash", "-c", f"{command} -s -S --fail"], capture_output=True, text=True, timeout=30, check=False)
        assert json.loads(done.stdout)["outputs"][0]["shape"] == [1, 1]
        assert httpx.post(f"{server.url}/models/mine/predict", json={"rows": [{"x": [1, 2, 3]}]}).status_code == 200


def test_settings_come_from_dotenv_and_it_ends_in_order(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "PENSTOCK_SERVE_MODEL_NAME=renamed\n# a comment\nPENSTOCK_SERVE_FEATURE_STORE=sqlite:///online.db\n"
    )
    write_flights(tmp_path / "flights")
    from penstock.testing.flights import write_store

    write_store(tmp_path / "online.db")
    server = ServerProcess("penstock_cli.serve", "flights", "--log_level", "info", cwd=str(tmp_path)).start()
    try:
        server.wait_ready()
        assert httpx.get(f"{server.url}/v1/models").json() == {"models": ["renamed"]}
        assert httpx.put(f"{server.url}/records/a", json={"values": {"distance": 1}}).status_code == 201
        assert httpx.get(f"{server.url}/predict/a").status_code == 200
        server.signal(signal.SIGINT)
        assert server.wait() == 0
    finally:
        server.__exit__(None, None, None)


def test_several_workers_share_the_port(tmp_path: Path) -> None:
    with serve_flights(tmp_path, "--workers", "2") as server:
        for _ in range(4):
            assert httpx.post(f"{server.url}/models/flights/predict", json={"rows": [{"distance": 1}]}).status_code == 200


def test_predictions_from_the_command_line(penstock: Penstock, server: ServerProcess, tmp_path: Path) -> None:
    url = ("--url", server.url)
    done = penstock("predict", *url, "--model", "flights", "--row", '{"distance": 3}', "--row", '{"distance": 4}')
    assert done.returncode == 0, done.stderr
    bundle, header, *rows = done.stdout.splitlines()
    assert bundle.startswith("flights@sha256:")
    assert header.split()[:2] == ["row", "label"]
    assert len(rows) == 2
    (tmp_path / "rows.csv").write_text("distance\n3\n")
    (tmp_path / "rows.json").write_text('[{"distance": 3}]')
    for name in ("rows.csv", "rows.json"):
        done = penstock("predict", *url, "--model", "flights", "--file", str(tmp_path / name), "--json")
        assert json.loads(done.stdout)["predictions"][0]["data"]["distance"] == 3
    image = Path(__file__).parents[3] / "examples/digits/sample.png"
    done = penstock("predict", *url, "--model", "pictures", "--image", str(image), "--json")
    assert "value" in json.loads(done.stdout)["predictions"][0]
    httpx.put(f"{server.url}/records/r?model=flights", json={"values": {"distance": 1}})
    done = penstock("predict", *url, "--model", "flights", "--record", "r")
    assert done.stdout.splitlines()[2].startswith("r ")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--row", "{}"], "Say which with --model"),
        (["--model", "flights", "--row", "{}"], "rows[0].distance: missing"),
        (["--model", "nobody", "--row", "{}"], "no model 'nobody'"),
        (["--model", "flights", "--row", "x"], "--row 1: not JSON"),
        (["--model", "flights", "--row", "3"], "--row 1: expected an object"),
        (["--model", "flights", "--record", "nobody"], "no record 'nobody'"),
        (["--model", "flights", "--file", __file__], "expected a .csv or .json file"),
    ],
)
def test_a_refused_request_is_one_line_with_the_field(
    penstock: Penstock, server: ServerProcess, arguments: list[str], words: str
) -> None:
    done = penstock("predict", "--url", server.url, *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_said_so(penstock: Penstock) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        done = penstock("predict", "--url", f"127.0.0.1:{port}", "--model", "m", "--row", "{}")
    assert done.returncode == 1
    assert "penstock serve" in done.stderr
    assert penstock("predict", "--url", "ftp://x", "--model", "m", "--row", "{}").returncode == 1


def test_a_taken_port_is_a_failure_with_a_remedy(penstock: Penstock, server: ServerProcess, tmp_path: Path) -> None:
    write_flights(tmp_path / "flights")
    from penstock.testing.flights import write_store

    url = write_store(tmp_path / "online.db")
    done = penstock("serve", str(tmp_path / "flights"), "--feature_store", url, "--http_port", str(server.port))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "--http_port" in done.stderr


def test_security_that_cannot_work_is_a_failure_by_name(penstock: Penstock, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[3] / "examples/plain/model.onnx", tmp_path)
    for arguments, words in (
        (["--tls_cert", "no.crt", "--tls_key", "no.key"], "Error: tls_cert: cannot read no.crt or no.key"),
        (["--api_keys", "nope"], "Error: api_keys: cannot read nope"),
        (["--rate_limit", "lots"], "Error: rate_limit: expected such as"),
    ):
        done = penstock("serve", str(tmp_path), *arguments)
        assert done.returncode == 1
        assert words in done.stderr


def test_what_cannot_answer_is_not_started(penstock: Penstock, tmp_path: Path) -> None:
    flights = str(write_flights(tmp_path / "flights"))
    again = str(write_flights(tmp_path / "again"))
    for arguments, words in (
        ([flights], "--feature_store"),
        ([flights, "--feature_store", "sqlite:///nowhere.db"], "there is no file"),
        ([flights, "--feature_store", "feast:nope.yaml"], "there is no file nope.yaml\nGive the feature_store.yaml"),
        ([flights, "--feature_store", "feast:."], "there is no file feature_store.yaml"),
        ([flights, "--feature_store", "mongodb://x"], "unknown kind of store"),
        ([flights, "--feature_store", "postgresql:///x"], "expected postgresql://"),
        ([flights, again, "--feature_store", "redis://x"], "are both called 'flights'"),
        ([flights, "--host", "no such host", "--feature_store", "redis://x"], "--host"),
    ):
        done = penstock("serve", *arguments, "--http_port", "0", cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert words in done.stderr


@pytest.mark.parametrize("form", ["redis://127.0.0.1:{}", "postgresql://someone:secret@127.0.0.1:{}/features"])
def test_a_store_that_is_away_at_the_start_is_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    flights, again = write_flights(tmp_path / "flights"), write_flights(tmp_path / "again")
    places = [*places_of([flights], "one"), *places_of([again], "two")]
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        check_store(places, form.format(held.getsockname()[1]), 1.0)
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert said.err.startswith("Warning: the feature store (")
    assert "until it answers" in said.err
    assert "secret" not in said.err


def test_a_store_that_is_there_is_not_spoken_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from penstock.testing.flights import write_store

    check_store(places_of([write_flights(tmp_path / "flights")], None), write_store(tmp_path / "online.db"), 1.0)
    assert capsys.readouterr() == ("", "")
