"""`.env`: what is read, what wins, what is refused."""

import os
from pathlib import Path

import pytest

from penstock.errors import InvalidInput
from penstock_cli.dotenv import load_env, read_env


def test_lines_are_variables() -> None:
    text = "# comment\n\nA=1\nexport B = two words \nC='a # b'\nD=\"x\"\nE=1 # one\nF=\n"
    assert read_env(text) == {"A": "1", "B": "two words", "C": "a # b", "D": "x", "E": "1", "F": ""}


@pytest.mark.parametrize("line", ["A", "1A=x", "=x", "A B=c"])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(InvalidInput, match="line 2: expected NAME=value"):
        read_env(f"A=1\n{line}\n")


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PENSTOCK_TEST_A=file\nPENSTOCK_TEST_B=file\n")
    monkeypatch.setenv("PENSTOCK_TEST_A", "environment")
    monkeypatch.delenv("PENSTOCK_TEST_B", raising=False)
    load_env(tmp_path)
    assert (os.environ["PENSTOCK_TEST_A"], os.environ["PENSTOCK_TEST_B"]) == ("environment", "file")
    monkeypatch.delenv("PENSTOCK_TEST_B")


def test_no_file_is_no_matter_and_a_broken_one_is_named(tmp_path: Path) -> None:
    load_env(tmp_path)
    (tmp_path / ".env").write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match=r"\.env"):
        load_env(tmp_path)
