"""The CRD as helm would render it."""

from pathlib import Path
from typing import Any

import pytest

from penstock.testing.definitions import chart_definition

TEMPLATE = Path(__file__).parents[3] / "charts/penstock/templates/modelversion-crd.yaml"


@pytest.fixture(scope="session")
def crd() -> dict[str, Any]:
    return chart_definition(TEMPLATE)
