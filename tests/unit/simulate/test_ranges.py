"""A rollout is simulated within the ranges in which an API server takes it; what is outside them is refused by its field."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from penstock.testing.definitions import chart_definition
from penstock_cli.rollout import rollout
from penstock_cli.rollout.simulate.ranges import RANGES, check_rollout
from penstock_operator.model_version import Rollout

TEMPLATE = Path(__file__).parents[3] / "charts/penstock/templates/modelversion-crd.yaml"


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(rollout, ["simulate", "--processes", "1", "--look", "12", "--runs", "1", "--rate", "5", *arguments])


@pytest.mark.parametrize(
    "margins, said",
    [
        ("latencyP99=0", "margins.latencyP99: expected a number of at least 1, got 0.0"),
        ("latencyP99=nan", "margins.latencyP99: expected a number of at least 1, got nan"),
        ("latencyP99=inf", "margins.latencyP99: expected a number of at least 1, got inf"),
        ("errorRate=-1", "margins.errorRate: expected a number of at least 0 and at most 1, got -1.0"),
        ("disagreement=2", "margins.disagreement: expected a number of at least 0 and at most 1, got 2.0"),
        ("outputDrift=nan", "margins.outputDrift: expected a number of at least 0, got nan"),
    ],
)
def test_margins_that_an_api_server_refuses_are_named(margins: str, said: str) -> None:
    found = simulate("--margins", margins)
    assert found.output.startswith(f"Error: {said}")


@pytest.mark.parametrize(
    "spec, said",
    [
        ("alpha: 0", "alpha: expected a number of more than 0 and at most 0.5, got 0.0"),
        ("alpha: 0.6", "alpha: expected"),
        ("shadow: {fraction: 0}", "shadow.fraction: expected a number of more than 0 and at most 1"),
        ("shadow: {minRequests: 0}", "shadow.minRequests: expected a number of at least 1"),
        ("margins: {quality: .nan}", "margins.quality: expected"),
        ("steps: []", "steps: expected 1 to 20 rising per cents that end with 100, such as 10, 50, 100, got none"),
        ("steps: [50, 5]", "steps: expected 1 to 20 rising per cents"),
        ("steps: [0, 100]", "steps: expected 1 to 20 rising per cents"),
        ("steps: [50, 50, 100]", "steps: expected 1 to 20 rising per cents"),
        ("maxDuration: 2 hours", "maxDuration: expected a duration"),
        ("maxDuration: 0s", "maxDuration: expected a duration"),
    ],
)
def test_a_file_that_an_api_server_refuses_is_told_at_fault_by_its_field(spec: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(f"kind: ModelVersion\nspec: {{rollout: {{{spec}}}}}\n")
    found = simulate("-f", str(path))
    assert found.output.startswith(f"Error: {said}")


def test_what_is_asked_for_instead_is_what_counts(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text("kind: ModelVersion\nspec: {rollout: {alpha: 0, maxDuration: 1m}}\n")
    assert simulate("-f", str(path), "--alpha", "0.1").exit_code == 0


@pytest.mark.parametrize("margins", ["latencyP99=1", "latencyP99=1e300", "outputDrift=5", "errorRate=0,disagreement=1"])
def test_the_ends_of_the_ranges_are_simulated(margins: str) -> None:
    found = simulate("--margins", margins, "--rate", "50")
    assert found.exit_code == 0, found.output


def test_ranges_are_those_of_the_definition() -> None:
    version = chart_definition(TEMPLATE)["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rollout"]
    declared = dict(numbers(schema))
    assert declared == {name: (one.low, one.high, one.above) for name, one in RANGES.items()}
    steps = schema["properties"]["steps"]
    assert (steps["minItems"], steps["maxItems"], steps["items"]["minimum"], steps["items"]["maximum"]) == (1, 20, 1, 100)
    check_rollout(Rollout())


def numbers(schema: dict[str, Any], path: str = "") -> list[tuple[str, tuple[Any, ...]]]:
    """Path and range of every number of a schema."""
    found = []
    for name, inner in schema["properties"].items():
        if inner["type"] == "object":
            found += numbers(inner, f"{path}{name}.")
        elif inner["type"] in ("number", "integer"):
            bounds = (inner["minimum"], inner.get("maximum"), inner.get("exclusiveMinimum", False))
            found.append((f"{path}{name}", bounds))
    return found
