"""Chart and manifests against the programs: no option and no variable that the settings do not know."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from penstock_predictor.settings import PredictorSettings
from penstock_transformer.settings import TransformerSettings

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "charts").rglob("*.yaml"), *(ROOT / "manifests").rglob("*.yaml")])
SETTINGS = {"PREDICTOR": PredictorSettings, "TRANSFORMER": TransformerSettings}


def names(settings: type) -> set[str]:
    return {field.name for field in dataclasses.fields(settings)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_variables_are_settings(path: Path) -> None:
    for member, name in re.findall(r"PENSTOCK_([A-Z]+)_([A-Z0-9_]+)", path.read_text()):
        assert name.lower() in names(SETTINGS[member])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_options_are_settings(path: Path) -> None:
    options = re.findall(r"^\s*- --(\w+)=", path.read_text(), re.MULTILINE)
    assert set(options) <= names(PredictorSettings)


def test_the_runtime_names_its_model_and_directory() -> None:
    text = (ROOT / "charts/penstock/templates/servingruntimes.yaml").read_text()
    assert "--model_dir=/mnt/models" in text
    assert '--model_name={{ "{{.Name}}" }}' in text


@pytest.mark.parametrize("path", sorted((ROOT / "manifests").rglob("*.yaml")), ids=lambda path: path.name)
def test_manifests_run_as_nobody_on_a_read_only_root(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        containers = document["spec"]["transformer"]["containers"]
        assert containers
        for container in containers:
            assert container["securityContext"]["runAsNonRoot"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
