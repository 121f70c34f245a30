"""docs/routing.md: its route is one, its settings and fields are there."""

import re
from pathlib import Path

from penstock.settings import variables
from penstock_transformer.route.configmap import MOST_APPLY
from penstock_transformer.route.status import RouteStatus
from penstock_transformer.route_file import read_route
from penstock_transformer.settings import PREFIX, TransformerSettings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "routing.md").read_text()


def test_the_route_of_the_page_is_read():
    text = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
    for letter in "abc":
        text = text.replace("sha256:…", "sha256:" + letter * 64, 1)
    spec = read_route(text, "flights")
    assert [entry.mode for entry in spec.bundles] == ["live", "live", "shadow"]


def test_its_settings_and_fields_are_there():
    known = {name.removeprefix(f"{PREFIX}_").lower() for name in variables(TransformerSettings, PREFIX)}
    for name in re.findall(r"`--([a-z_]+)", PAGE):
        assert name in known, name
    for field in RouteStatus("flights").answer(None):
        assert f'"{field}"' in PAGE, field
    assert MOST_APPLY in PAGE
