"""What `penstock serve` is given: a bundle is opened once and handed on; what a bundle is made of is not served by itself."""

from pathlib import Path

import pytest

from penstock.bundle import reading
from penstock.dataplane import TensorMetadata
from penstock.testing.bundles import write_bundle
from penstock.testing.models import row_sum
from penstock_cli import all_in_one
from penstock_cli.all_in_one import places_of
from penstock_cli.errors import Failure
from penstock_cli.store_check import check_features, check_store
from penstock_predictor import loading
from penstock_predictor.settings import ModelSettings

FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32}
  - {name: b, from: request, type: float32}
tensors: {x: [a, b]}
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    outputs = (TensorMetadata("y", "FP32", (-1,)),)
    write_bundle(tmp_path / "made", row_sum("rows", 2), FEATURES, inputs=(TensorMetadata("x", "FP32", (-1, 2)),), outputs=outputs)
    return tmp_path / "made"


def test_a_bundle_is_opened_once_for_all_who_look_into_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def counted(directory: Path) -> reading.Bundle:
        opened.append(directory)
        return reading.open_bundle(directory)

    monkeypatch.setattr(all_in_one, "open_bundle", counted)
    monkeypatch.setattr(loading, "open_bundle", counted)
    places = places_of([bundle], None)
    check_features(places, None)
    check_store(places, "sqlite:///nowhere.db", 1.0)
    loaded = loading.load_model(places[0], ModelSettings(profile_s=0))
    assert opened == [bundle]
    assert places[0].model == "flights"
    assert loaded.bundle is places[0].bundle


def test_another_name_is_the_models_and_not_the_bundles(bundle: Path) -> None:
    (place,) = places_of([bundle], "other")
    assert place.model == "other"
    assert place.bundle is not None
    assert place.bundle.manifest.name == "flights"


def test_the_makings_of_a_bundle_are_refused_with_the_command_that_builds_it(bundle: Path) -> None:
    (bundle / "bundle.yaml").unlink()
    with pytest.raises(Failure) as caught:
        places_of([bundle], None)
    assert "holds a model and a features.yaml, but is no bundle of them" in caught.value.message
    command = f"penstock bundle build {bundle / 'model.onnx'} --features {bundle / 'features.yaml'} -o BUNDLE"
    assert command in caught.value.message
    (bundle / "features.yaml").unlink()
    (place,) = places_of([bundle], None)
    assert (place.is_bundle, place.bundle, place.model) == (False, None, "made")
