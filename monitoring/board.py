"""A dashboard: rows of panels, the variables that all of them take, and links to its siblings.

Board(uid, title, description, MODEL) .row("Requests", graph(…), …) --json--> charts/penstock/files/dashboards/<name>.json
"""

import json
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from monitoring.panels import SOURCE

TAG = "penstock"
NAMESPACE = ("namespace", "Namespace", "label_values(penstock_build_info, namespace)")
MODEL = ("model", "Model", 'label_values(penstock_requests_total{namespace=~"$namespace", model!=""}, model)')


class Board:
    """One dashboard in the making. `variables`: name, label and query of each, in the order in which they depend on another."""

    def __init__(self, name: str, title: str, description: str, *variables: tuple[str, str, str]) -> None:
        self.name = name
        self._made = (
            dashboard.Dashboard(f"Penstock / {title}")
            .uid(f"penstock-{name}")
            .description(description)
            .tags([TAG])
            .time("now-1h", "now")
            .refresh("30s")
            .timezone("browser")
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
            .link(
                dashboard.DashboardLink("Penstock")
                .type(models.DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .as_dropdown(True)
                .include_vars(True)
                .keep_time(True)
            )
        )
        for variable in variables:
            self._made.with_variable(_variable(*variable))

    def row(self, title: str, *panels: Any) -> "Board":
        """Add a row; its panels flow from left to right."""
        self._made.with_row(dashboard.Row(title))
        for panel in panels:
            self._made.with_panel(panel)
        return self

    def document(self) -> dict[str, Any]:
        """What Grafana is given; panels are numbered from 1 in their order."""
        made: dict[str, Any] = json.loads(json.dumps(self._made.build(), cls=JSONEncoder))
        for number, panel in enumerate(made["panels"], 1):
            panel["id"] = number
        return made

    def text(self) -> str:
        """The file."""
        return json.dumps(self.document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    everything = models.VariableOption(text="All", value="$__all", selected=True)
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )
