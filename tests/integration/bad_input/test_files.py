"""Bad files given to the programs: models that are none, bundles that were changed, specs that contradict themselves.

Each ends the program with a status above 0 and a message that names the file or field, without a stack trace.
"""

import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.bundle.files import digest_bytes
from penstock.testing.flights import FLIGHTS, write_flights, write_pictures, write_store
from penstock_cli.__main__ import main
from penstock_predictor.__main__ import main as predictor
from penstock_transformer.__main__ import main as transformer

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SERVE = ("penstock_cli", "serve", "--http_port", "0")
PREDICTOR = (
    "penstock_predictor",
    "--model_name",
    "m",
    "--http_port",
    "0",
    "--admin_port",
    "0",
    "--host",
    "127.0.0.1",
    "--model_dir",
)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Programs that run in this process configure its logging; what was there comes back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `penstock` in this process, which costs no second start of the interpreter."""

    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        status = main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, told.out, told.err)

    return run


def ends(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode not in (0, 70), said
    assert done.returncode > 0, said
    assert "Traceback" not in said, said
    for word in words:
        assert word in said, said


@pytest.mark.parametrize("content", [b"", b"this is no model", b"\x08\x07" * 50])
def test_an_onnx_file_that_is_none(program: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    ends(program(*SERVE, tmp_path), "model.onnx")
    ends(program(*PREDICTOR, tmp_path), "model.onnx")


def test_an_onnx_file_that_is_none_is_not_built(said: Run, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"this is no model")
    ends(said("bundle", "build", tmp_path / "model.onnx", "--out", tmp_path / "out"), "model.onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "file, change",
    [("model.onnx", "a byte"), ("model.onnx", "missing"), ("features.yaml", "a byte"), ("encoder.onnx", "its end")],
)
def test_a_bundle_whose_digest_is_wrong(program: Run, said: Run, tmp_path: Path, file: str, change: str) -> None:
    bundle = write_pictures(tmp_path / "pictures")
    path = bundle / file
    data = path.read_bytes()
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if change == "a byte" else data[:-1])
    if change == "a byte":
        ends(program(*PREDICTOR, bundle), file)
    for command in (("serve", "--http_port", "0"), ("bundle", "verify"), ("bundle", "show"), ("bundle", "run")):
        ends(said(*command, bundle), file)


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("features:\n", "features:\n- {name: picture, from: request, type: float32}\n", "picture"),
        ("tensors:", "tensors: {more: [word]}\ntensers:", "tensers"),
        ("mode: grey", "mode: gray", "mode"),
    ],
)
def test_a_bundle_whose_spec_is_wrong_though_its_digest_is_right(
    program: Run, said: Run, tmp_path: Path, old: str, new: str, words: str
) -> None:
    bundle = write_pictures(tmp_path / "pictures")
    spec = bundle / "features.yaml"
    text = spec.read_text().replace(old, new, 1)
    before, after = digest_bytes(spec.read_bytes()), digest_bytes(text.encode())
    spec.write_text(text)
    manifest = bundle / "bundle.yaml"
    listed = manifest.read_text().replace(before.sha256, after.sha256).replace(f"bytes: {before.bytes}", f"bytes: {after.bytes}")
    manifest.write_text(listed)
    ends(said("serve", bundle, "--http_port", "0"), words)
    if words == "picture":
        ends(program(*PREDICTOR, bundle), words)


def test_a_bundle_that_lists_a_file_outside_of_itself(program: Run, said: Run, tmp_path: Path) -> None:
    bundle = write_pictures(tmp_path / "pictures")
    (tmp_path / "secret").write_text("secret")
    manifest = bundle / "bundle.yaml"
    manifest.write_text(manifest.read_text().replace("model.onnx", "../secret"))
    ends(said("serve", bundle, "--http_port", "0"), "../secret")
    ends(program(*PREDICTOR, bundle), "../secret")


@pytest.mark.parametrize("text", ["", "{", "a: &a [*a]\n", "a: !!python/object:os.system x\n"])
def test_a_manifest_that_is_none(said: Run, tmp_path: Path, text: str) -> None:
    bundle = write_pictures(tmp_path / "pictures")
    (bundle / "bundle.yaml").write_text(text)
    ends(said("serve", bundle, "--http_port", "0"), "bundle.yaml")


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("- {name: stops,", "- {name: distance,", "distance"),
        ("categories: [AA, UA]", "categories: [AA, AA]", "AA"),
        ("type: int32", "type: int33", "int33"),
        ("encode: [log1p]", "encode: [log2p]", "log2p"),
        ("tensors: {x: [distance", "tensors: {x: [distanze", "distanze"),
        ("std: 50.0", "std: 0", "std"),
        ("formatVersion: 1", "formatVersion: 9", "formatVersion"),
        ("set: flights, key", "set: nothing, key", "record"),
        ("features:\n", "features: 3\nx:\n", "features"),
    ],
)
def test_a_spec_that_is_wrong_is_not_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    assert old in FLIGHTS
    good = write_flights(tmp_path / "good")
    spec = tmp_path / "features.yaml"
    spec.write_text(FLIGHTS.replace(old, new, 1))
    status = main(["bundle", "build", str(good / "model.onnx"), "--features", str(spec), "--out", str(tmp_path / "out")])
    assert status == 1
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_text_are_named(said: Run, tmp_path: Path) -> None:
    good = write_flights(tmp_path / "good")
    for name in ("features.yaml", "query.sql", "feature_store.yaml", "key"):
        (tmp_path / name).write_bytes(b"formatVersion: \xff\xfe")
    model, draft = good / "model.onnx", good / "features.yaml"
    url = "sqlite:///nothing.db"
    for file, *command in (
        ("features.yaml", "bundle", "build", model, "--features", tmp_path / "features.yaml", "--out", tmp_path / "out"),
        ("features.yaml", "bundle", "fit", tmp_path / "features.yaml", "--data", draft),
        ("query.sql", "bundle", "fit", draft, "--sql", tmp_path / "query.sql", "--connection", url),
        ("feature_store.yaml", "features", "show", "planes", "--repo", tmp_path),
        ("key", "predict", "--model", "flights", "--row", "{}", "--key-file", tmp_path / "key"),
    ):
        ends(said(*command), file, "UTF-8")


@pytest.mark.parametrize(
    "old, new, words", [("seats: int64", "seats: complex", "seats: "), ("Serialization: 3", "Serialization: 7", "7")]
)
def test_a_store_layout_that_is_none_is_not_served(said: Run, tmp_path: Path, old: str, new: str, words: str) -> None:
    bundle = write_flights(tmp_path / "flights", features=FLIGHTS.replace(old, new))
    url = write_store(tmp_path / "online.db")
    ends(said("serve", bundle, "--feature_store", url, "--http_port", "0"), words)


def test_a_store_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flights = str(write_flights(tmp_path / "flights"))
    for arguments, words in (
        (["--feature_store", "nonsense"], "feature_store"),
        (["--feature_store", "sqlite://x"], "sqlite:///"),
        (["--feature_store", f"sqlite:///{tmp_path}/no.db"], "no.db"),
        (["--feature_store", "x://y"], "unknown kind of store"),
        ([], "--feature_store"),
    ):
        assert main(["serve", flights, "--http_port", "0", *arguments]) == 1
        said = capsys.readouterr().err
        assert words in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "program, arguments, words",
    [
        (main, ["serve", "/nowhere"], "/nowhere"),
        (main, ["serve", "/nowhere", "--http_port", "many"], "http_port"),
        (predictor, ["--model_name", "m", "--http_port", "many"], "http_port"),
        (predictor, ["--model_dir", "/nowhere"], "model_name"),
        (predictor, ["--model_name", "m", "--colour", "red"], "colour"),
        (transformer, ["--model_name", "m"], "predictor_host"),
    ],
)
def test_wrong_options_are_named(
    capsys: pytest.CaptureFixture[str], program: Callable[[list[str]], int | None], arguments: list[str], words: str
) -> None:
    try:
        status = program(arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status in (1, 2)
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
