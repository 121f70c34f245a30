"""The dashboards' files: as the code has them, and each panel with a title, a unit, a description and named series."""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from monitoring.alerts import rules
from monitoring.board import Board
from monitoring.files import FOLDER, ROOT, boards, files

from penstock_operator.settings import OperatorSettings
from penstock_predictor.settings import PredictorSettings
from penstock_transformer.feedback.sink.settings import LogSinkSettings
from penstock_transformer.relay.settings import RelaySettings
from penstock_transformer.settings import TransformerSettings
from penstock_transformer.sink.settings import SinkSettings
from penstock_transformer.updates.settings import UpdatesSettings
from penstock_transformer.worker.settings import WorkerSettings

UNITS = {
    "s", "short", "percentunit", "bytes", "Bps", "reqps", "percent", "ops", "d", "none", "bool_yes_no",
}  # fmt: skip


def _settings() -> set[str]:
    members = (
        TransformerSettings,
        PredictorSettings,
        WorkerSettings,
        RelaySettings,
        SinkSettings,
        LogSinkSettings,
        UpdatesSettings,
        OperatorSettings,
    )
    return {field.name for settings in members for field in dataclasses.fields(settings)}


def panels(board: Board) -> list[dict[str, Any]]:
    return [panel for panel in board.document()["panels"] if panel["type"] != "row"]


def unit(panel: dict[str, Any]) -> str:
    if panel["type"] == "heatmap":
        found: str = panel["options"]["yAxis"]["unit"]
        return found
    return str(panel["fieldConfig"]["defaults"]["unit"])


@pytest.mark.parametrize("name", [str(name) for name in files()])
def test_the_chart_s_file_is_as_the_code_has_it(name: str) -> None:
    assert (FOLDER / name).read_text() == files()[Path(name)], "make dashboards"


def test_no_file_is_left_over() -> None:
    assert {path.name for path in (FOLDER / "dashboards").iterdir()} == {path.name for path in files() if path.suffix == ".json"}


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_every_panel_says_what_it_shows(board: Board) -> None:
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert unit(panel) in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_series_of_a_graph_have_names_and_several_queries_differ(board: Board) -> None:
    for panel in panels(board):
        if panel["type"] != "timeseries":
            continue
        legends = [target.get("legendFormat", "") for target in panel["targets"]]
        assert all(legends), panel["title"]
        assert len(set(legends)) == len(legends), panel["title"]
        for target in panel["targets"]:
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = {name.strip() for names in re.findall(r"by \(([^)]*)\)", target["expr"]) for name in names.split(",")}
            assert shown <= kept | {"version"}, f"{panel['title']}: a legend of {shown - kept}"


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_panels_lie_side_by_side_and_never_on_another(board: Board) -> None:
    places = [panel["gridPos"] for panel in board.document()["panels"]]
    taken = Counter((x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"]))
    assert max(taken.values()) == 1
    assert max(x for x, _ in taken) < 24


def test_dashboards_have_ids_of_their_own_and_find_each_other() -> None:
    documents = [board.document() for board in boards()]
    assert len({document["uid"] for document in documents}) == len(documents) == 5
    assert all(document["links"][0]["tags"] == document["tags"] for document in documents)
    for document in documents:
        ids = [panel["id"] for panel in document["panels"]]
        assert ids == sorted(set(ids))


def test_queries_stay_within_the_chosen_namespace() -> None:
    for board in boards():
        for panel in panels(board):
            for target in panel["targets"]:
                # The operator looks after all namespaces.
                for metric, labels in re.findall(r"\b((?:penstock|process)_\w+)(\{[^}]*\})?", target["expr"]):
                    assert "$namespace" in labels or metric.startswith("penstock_operator"), (
                        f"{board.name}: {panel['title']}: {metric}"
                    )


def test_alerts_have_a_time_a_severity_and_a_page() -> None:
    alerts = rules.every()
    assert len({alert.name for alert in alerts}) == len(alerts)
    pages = ROOT / "docs/runbooks"
    assert {path.stem for path in pages.glob("Penstock*.md")} == {alert.alert for alert in alerts}
    for alert in alerts:
        rule = alert.rule()
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["for"] != "0m"
        assert (ROOT / rule["annotations"]["runbook_url"]).exists()
        assert rule["annotations"]["description"].endswith(".")


def test_every_page_says_the_same_five_things() -> None:
    for path in (ROOT / "docs/runbooks").glob("Penstock*.md"):
        text = path.read_text()
        assert text.startswith(f"# {path.stem}\n"), path.name
        heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert heads == ["What it means", "What users see", "How to look", "What to do", "When to worry"], path.name
        options = set(re.findall(r"--([a-z]+_[a-z_]+)", text))
        assert options <= _settings(), f"{path.name}: {options - _settings()}"
        for link in re.findall(r"\]\(([^)#]+)", text):
            assert link.startswith("http") or (path.parent / link).exists(), f"{path.name}: {link}"


def test_documents_are_json_that_grafana_reads() -> None:
    for path in (FOLDER / "dashboards").glob("*.json"):
        document = json.loads(path.read_text())
        assert document["schemaVersion"] >= 36
        assert [variable["name"] for variable in document["templating"]["list"]] == ["datasource", "namespace", "model"]
