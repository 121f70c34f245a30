"""The README's Kubernetes section, as far as no cluster is needed: files, labels and commands that it names are there.

That all of it works as pasted is what tests/cluster/test_readme.py is for, on a cluster.
"""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
SECTION = re.compile(r"^## On Kubernetes\n(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    """Every block of the section's commands."""
    section = SECTION.search((ROOT / "README.md").read_text())
    assert section is not None
    return BLOCK.findall(section[1])


@pytest.fixture(scope="module")
def lines(blocks: list[str]) -> list[str]:
    """Every line of them."""
    return "".join(blocks).splitlines()


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The section as the tests on a cluster paste it."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "cluster"))
    return importlib.import_module("bed.readme").read_section()


def test_every_block_is_pasted_on_a_cluster(blocks: list[str], section: Any) -> None:
    """But the first, which makes the cluster. Either paste begins with what serves the model, and keeps the README's order."""
    makes, serves, *rest = blocks
    assert makes.startswith("make cluster-up\nexport KUBECONFIG=")
    assert "kubectl apply -f manifests/inferenceservice.yaml\n" in serves
    assert "kubectl port-forward " in serves
    assert [section.plain[0], section.evidence[0]] == [serves, serves]
    assert [*section.plain[1:], *section.evidence[1:]] == rest
    assert ["strategy: evidence" in "".join(pasted) for pasted in (section.plain, section.evidence)] == [False, True]
    tests = (ROOT / "tests/cluster/test_readme.py").read_text()
    assert re.findall(r"paste\(place, SECTION\.(\w+)\)", tests) == ["plain", "evidence"]


def test_what_ci_runs_on_a_cluster_is_there() -> None:
    """A test is named there by its function, whose name could change here alone."""
    named = re.findall(r"tests/cluster/(\w+\.py)(?:::(\w+))?", (ROOT / ".ci/cluster").read_text())
    assert ("test_readme.py", "test_the_section_works_as_pasted") in named
    for file, function in named:
        text = (ROOT / "tests/cluster" / file).read_text()
        assert f"\ndef {function}(" in text or not function, file


def test_what_is_applied_is_there(lines: list[str]) -> None:
    applied = [shlex.split(line) for line in lines if line.startswith("kubectl apply -f manifests/")]
    assert len(applied) == 2
    for _, _, _, file, *selector in applied:
        documents = [document for document in yaml.safe_load_all((ROOT / file).read_text()) if document]
        if selector:
            name, value = selector[1].split("=")
            documents = [document for document in documents if document["metadata"]["labels"].get(name) == value]
        assert len(documents) == 1, file


def test_what_is_waited_for_is_what_was_applied(lines: list[str]) -> None:
    """The Deployment of the worker by its manifest, that of the transformer by KServe's rule."""
    waited = {found[1] for line in lines if (found := re.match(r"kubectl rollout status deployment/(\S+)", line))}
    worker = next(iter(yaml.safe_load_all((ROOT / "manifests/async-kafka.yaml").read_text())))
    service = yaml.safe_load((ROOT / "manifests/inferenceservice.yaml").read_text())
    assert waited == {worker["metadata"]["name"], f"{service['metadata']['name']}-transformer"}


def test_the_environment_is_the_test_clusters(lines: list[str]) -> None:
    assert lines[:2] == [
        "make cluster-up",
        "export KUBECONFIG=~/.cache/penstock/kube/run/admin.kubeconfig PATH=$PWD/.venv/bin:~/.cache/penstock/kube/bin:$PATH",
    ]


def test_the_rollouts_commands_take_these_options(lines: list[str]) -> None:
    commands = [shlex.split(line) for line in lines if line.startswith("penstock rollout ")]
    assert {command[2] for command in commands} == {"status", "rollback"}
    for command in commands:
        # Without a cluster: its usage is right, and it fails because there is nothing to ask.
        program = [str(Path(sys.executable).parent / command[0]), *command[1:], "--kubeconfig", "/nowhere"]
        done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1, done.stderr
        assert "/nowhere" in done.stderr
