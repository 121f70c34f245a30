"""`penstock keys`: a key is shown once, its line fits the server, and files are never spoilt."""

from pathlib import Path

import pytest

from penstock.serving.security.keys import ApiKeys
from penstock_cli.__main__ import main


def test_a_new_key_opens_the_server_that_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys"
    made = []
    for arguments in (
        ["--scope", "predict:flights", "--scope", "read:*", "--days", "30"],
        ["--scope", "admin", "--expires", "2099-01-31"],
    ):
        assert main(["keys", "new", "--name", "batch", "--file", str(path), *arguments]) == 0
        made.append(capsys.readouterr().out.strip())
    assert path.stat().st_mode & 0o777 == 0o600
    keys = ApiKeys(path)
    assert {str(scope) for scope in keys.check(made[0].encode()).scopes} == {"predict:flights", "read:*"}
    assert {str(scope) for scope in keys.check(made[1].encode()).scopes} == {"admin"}
    assert not any(key in path.read_text() for key in made)
    assert main(["keys", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "predict:flights read:*" in shown
    assert "2099-01-31" in shown


def test_without_a_file_the_line_is_on_stderr_and_the_key_alone_on_stdout(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["keys", "new", "--name", "batch", "--scope", "admin"]) == 0
    said = capsys.readouterr()
    key = said.out.strip()
    line = next(line for line in said.err.splitlines() if "sha256:" in line)
    (tmp_path / "keys").write_text(line)
    assert ApiKeys(tmp_path / "keys").check(key.encode()).name == "key batch"
    assert key not in said.err


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (["--name", "x"], 2, "Missing option '--scope'"),
        (["--name", "x", "--scope", "everything"], 2, "expected predict:MODEL"),
        (["--name", "a b", "--scope", "admin"], 1, "name: expected letters"),
        (["--name", "x", "--scope", "admin", "--expires", "soon"], 2, "expires: expected a time"),
        (["--name", "x", "--scope", "admin", "--expires", "2099-01-01", "--days", "3"], 2, "not both"),
        (["--name", "x", "--scope", "admin", "--file", "BROKEN"], 1, "line 1: expected ID"),
    ],
)
def test_wrong_usage(arguments: list[str], status: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken"
    broken.write_text("spoilt\n")
    assert main(["keys", "new", *(str(broken) if text == "BROKEN" else text for text in arguments)]) == status
    said = capsys.readouterr()
    assert words in said.err
    assert "penstock_" not in said.out
    assert broken.read_text() == "spoilt\n"
