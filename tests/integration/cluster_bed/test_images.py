"""Archives of the cluster's images are kept from run to run: a new one replaces the old one of its tag, and no other."""

import importlib
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "cluster"
TAG = "docker.io/penstock/transformer:0.1.0"


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """bed/images.py, with an engine whose images are their ids."""
    monkeypatch.syspath_prepend(str(FOLDER))
    found = importlib.import_module("bed.images")
    monkeypatch.setattr(found, "ARCHIVES", tmp_path)
    monkeypatch.setattr(found.engine, "save", lambda tag, file: file.write_text(tag))
    return found


def test_a_new_image_replaces_its_own_archive_alone(images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for tag, digit in ((TAG, "1"), (f"{TAG}-feast", "2"), (TAG, "3")):
        monkeypatch.setattr(images.engine, "identify", lambda _, digit=digit: digit * 64)
        made.append(images.archive(tag))
    assert [file.exists() for file in made] == [False, True, True]
    assert [file.read_text() for file in made[1:]] == [f"{TAG}-feast", TAG]
