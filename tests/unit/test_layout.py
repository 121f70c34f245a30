"""The layout that everything hangs on: names that must not exist, files that must not hold what is not ours to publish."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = ("core", "predictor", "transformer", "operator", "cli")


def test_operator_folder_is_not_a_package() -> None:
    """`operator/__init__.py` would shadow the standard library's module."""
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_ships_its_types(member: str) -> None:
    packages = list((ROOT / member / "src").glob("penstock*"))
    assert len(packages) == 1
    assert (packages[0] / "py.typed").exists()


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_locks_hold_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    names = re.findall(r"^[a-zA-Z0-9._-]+==", text, re.MULTILINE)
    assert names
    assert text.count("--hash=sha256:") >= len(names)


def test_no_module_is_named_after_nothing() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not [path for path in tracked if Path(path).stem in {"utils", "helpers", "common", "misc"}]


def test_no_test_hooks_itself_into_the_process_for_good() -> None:
    """An audit hook stays, in every process that collects its module: threads of later tests then fail to begin under coverage
    (tests/integration/bundle/opening.py)."""
    modules = [path for path in (ROOT / "tests").rglob("*.py") if path.name == "conftest.py" or path.stem.startswith("test_")]
    assert len(modules) > 100
    assert not [path for path in modules if "sys." + "addaudithook" in path.read_text()]


@pytest.mark.parametrize("lock", ["transformer.txt", "predictor.txt"])
def test_pods_hold_only_what_they_need(lock: str) -> None:
    """The transformer's image has no Feast and no pandas, the predictor's no Kafka client and no store's."""
    names = set(re.findall(r"^([a-zA-Z0-9._-]+)==", (ROOT / "requirements" / lock).read_text(), re.MULTILINE))
    assert not names & {"feast", "pandas", "scikit-learn", "onnx", "dask", "pyarrow"}
    if lock == "predictor.txt":
        assert not names & {"redis", "asyncpg", "kafka-python", "pillow"}


def test_members_declare_the_supported_pythons() -> None:
    for member in MEMBERS:
        project = tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]
        assert project["requires-python"] == ">=3.11,<3.14"
