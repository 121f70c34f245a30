"""docs/chart.md is what `tools/write_chart_page.py` writes."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_as_written() -> None:
    written = runpy.run_path(str(ROOT / "tools/write_chart_page.py"))["page"]()
    assert (ROOT / "docs/chart.md").read_text() == written, "run tools/write_chart_page.py"


def test_every_value_is_on_it() -> None:
    page = (ROOT / "docs/chart.md").read_text()
    for value in ("operator.replicas", "models[].worker", "async.kafka.topics.minInsync", "networkPolicy.prometheus"):
        assert f"`{value}`" in page
