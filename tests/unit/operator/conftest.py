"""The CRD as helm would render it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

TEMPLATE = Path(__file__).parents[3] / "charts/penstock/templates/modelversion-crd.yaml"


@pytest.fixture(scope="session")
def crd() -> dict[str, Any]:
    """Its template has only whole lines that are helm's."""
    lines = [line for line in TEMPLATE.read_text().splitlines() if not line.startswith("{{")]
    document: dict[str, Any] = yaml.safe_load("\n".join(lines))
    return document
