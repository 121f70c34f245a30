"""Bounds of quality: beyond them for certain, or not at all; and what is told of them."""

import pytest

from penstock_transformer.feedback.quality import Quality
from penstock_transformer.feedback.sink.bounds import Bounds, read_bounds
from penstock_transformer.feedback.sink.judging import quality_families


@pytest.mark.parametrize(
    ("quality", "bounds", "passed"),
    [
        (Quality("b", False, 500, accuracy=0.6, accuracy_error=0.02), {"accuracy": 0.7}, [("accuracy", True)]),
        (Quality("b", False, 500, accuracy=0.68, accuracy_error=0.02), {"accuracy": 0.7}, [("accuracy", False)]),
        (Quality("b", False, 50, accuracy=0.1, accuracy_error=0.02), {"accuracy": 0.7}, [("accuracy", False)]),
        (Quality("b", False, 500, bias=-3.0, bias_error=0.1), {"bias": 2.0, "cost": 1.0}, [("bias", True)]),
        (Quality("b", False, 500, cost=3.0, cost_error=0.1), {"cost": 2.9}, [("cost", False)]),
        (Quality("b", False, 500, calibration_error=0.2), {"calibration_error": 0.1}, [("calibration_error", True)]),
    ],
)
def test_a_measure_is_beyond_its_bound_for_certain_or_not(
    quality: Quality, bounds: dict[str, float], passed: list[tuple[str, bool]]
) -> None:
    assert list(Bounds(bounds).passed(quality)) == passed


def test_bounds_are_read_and_what_is_none_is_refused() -> None:
    assert read_bounds(["accuracy=0.7", "cost=12"], 5) == Bounds({"accuracy": 0.7, "cost": 12.0}, 5)
    for text in ("accuracy", "accuracy=x", "precision=1", "rows=3"):
        with pytest.raises(ValueError, match="quality_bounds"):
            read_bounds([text], 100)


def test_what_is_told_of_a_bundle() -> None:
    one = Quality("n@sha256:1", False, 500, accuracy=0.6, accuracy_error=0.02, strange={"Late": 3})
    shadow = Quality("n@sha256:2", True, 500, accuracy=0.1, accuracy_error=0.02)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in quality_families({"m": [one, shadow]}, Bounds({"accuracy": 0.7}))
        for sample in family.samples
    }
    of = (("bundle", "n@sha256:1"), ("measure", "accuracy"), ("model", "m"), ("shadow", "false"))
    assert samples["penstock_quality", *of] == 0.6
    assert samples["penstock_quality_error", *of] == 0.02
    assert samples["penstock_quality_beyond_bound", *of] == 1.0
    # A shadow answers nobody: nobody is woken for it.
    assert sum(name == "penstock_quality_beyond_bound" for name, *_ in samples) == 1
