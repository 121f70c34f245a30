"""API keys: what lets in, what does not, and how the file is followed."""

import os
from pathlib import Path

import pytest

from penstock.errors import InvalidInput, Unauthenticated
from penstock.serving.security import watching
from penstock.serving.security.keys import ApiKeys, new_key, read_keys, read_time
from penstock.serving.security.scopes import read_scope

PREDICT = frozenset({read_scope("predict:flights")})


@pytest.fixture(autouse=True)
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 0.0)


def refused(keys: ApiKeys, given: bytes) -> str:
    with pytest.raises(Unauthenticated) as caught:
        keys.check(given)
    return caught.value.message


def test_a_key_lets_its_caller_in_and_nothing_near_it_does(tmp_path: Path) -> None:
    text, entry = new_key("batch", PREDICT)
    other, _ = new_key("batch", PREDICT)
    path = tmp_path / "keys"
    path.write_text(f"# callers\n\n{entry.line()}\n")
    keys = ApiKeys(path)
    assert keys.check(text.encode()) == entry.caller
    assert entry.caller.name == "key batch"
    secret = text.rpartition("_")[2]
    wrong = ["", "penstock_", text[:-1], text + "x", other, other[:26] + secret[:43], text.upper(), text.replace("penstock", "x")]
    said = {refused(keys, given.encode()) for given in wrong}
    assert said == {"the API key is not known, or no longer"}


def test_the_file_holds_nothing_that_could_be_presented() -> None:
    text, entry = new_key("batch", PREDICT)
    assert text not in entry.line()
    assert text.rpartition("_")[2] not in entry.line()


def test_an_expired_key_stops_working(tmp_path: Path) -> None:
    text, entry = new_key("batch", PREDICT, expires=1000.0)
    (tmp_path / "keys").write_text(entry.line())
    now = 999.0
    keys = ApiKeys(tmp_path / "keys", clock=lambda: now)
    assert keys.check(text.encode()).name == "key batch"
    now = 1000.0
    refused(keys, text.encode())


def test_the_file_is_followed_and_a_broken_one_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, first = new_key("one", PREDICT)
    two, second = new_key("two", PREDICT)
    path = tmp_path / "keys"
    path.write_text(first.line())
    keys = ApiKeys(path)
    replacement = tmp_path / "new"
    replacement.write_text(second.line())
    os.replace(replacement, path)
    assert keys.check(two.encode()).name == "key two"
    refused(keys, one.encode())
    path.write_text(f"{first.line()}\n{one}\n")
    assert keys.check(two.encode()).name == "key two"
    assert "new API keys refused" in caplog.text
    assert one not in "".join(str(vars(record)) for record in caplog.records)
    path.unlink()
    assert keys.check(two.encode()).name == "key two"


@pytest.mark.parametrize(
    "line, words",
    [
        ("SECRETSECRET", "line 1: expected ID sha256:HASH"),
        (f"{'0' * 16} sha256:{'0' * 63} name=a scopes=admin", "line 1: expected ID"),
        (f"{'0' * 16} sha256:{'0' * 64} name=a", "expected name=, scopes="),
        (f"{'0' * 16} sha256:{'0' * 64} name=a scopes=admin name=b", "each once"),
        (f"{'0' * 16} sha256:{'0' * 64} name=a scopes=admin colour=b", "each once"),
        (f"{'0' * 16} sha256:{'0' * 64} name=/ scopes=admin", "name: expected letters"),
        (f"{'0' * 16} sha256:{'0' * 64} name=a scopes=all", "expected predict:MODEL"),
        (f"{'0' * 16} sha256:{'0' * 64} name=a scopes=admin expires=soon", "expires: expected a time"),
        (f"{'0' * 16} sha256:{'0' * 64} name=a scopes=admin\n{'0' * 16} sha256:{'1' * 64} name=a scopes=admin", "line 2: its id"),
    ],
)
def test_a_line_that_cannot_be_read_refuses_the_file_by_its_number(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "keys").write_text(line)
    with pytest.raises(InvalidInput, match=words) as caught:
        read_keys(tmp_path / "keys")
    assert "SECRET" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        read_keys(tmp_path / "none")
    (tmp_path / "keys").write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_keys(tmp_path / "keys")


def test_names_and_scopes_of_a_new_key() -> None:
    for name, scopes in (("", PREDICT), ("a b", PREDICT), ("x" * 101, PREDICT), ("fine", frozenset())):
        with pytest.raises(InvalidInput):
            new_key(name, scopes)
    assert read_time("1970-01-02") == 86400.0
    assert read_time("1970-01-01T01:00:00+01:00") == 0.0
