"""The panels that every dashboard is put together from: a graph of series, a single number, a heat map, a table.

    Query(expression, legend) --graph, number, heatmap, table--> a panel builder --Board.row--> the dashboard's JSON

Each panel says what it shows, in which unit, and what to make of it (`description`). The data source is the dashboard's variable,
so that one file serves every Grafana.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GRAPH_WIDTH, GRAPH_HEIGHT = 8, 8
NUMBER_WIDTH, NUMBER_HEIGHT = 4, 4
_REFS = "ABCDEFGHIJ"


class Query(NamedTuple):
    """A PromQL expression, and what its series are called (Grafana's `{{label}}` form)."""

    expression: str
    legend: str = ""


class Level(NamedTuple):
    """From `value` on the panel has this colour."""

    value: float | None
    colour: str


GOOD_BELOW = "green"


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    signed: bool = False,
    width: int = GRAPH_WIDTH,
) -> Any:
    """Series over time, from nought up unless `signed`, with their last and greatest values in the legend."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(GRAPH_HEIGHT)
        .line_width(1)
        .fill_opacity(25 if stacked else 8)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING))
    )
    if not signed:
        panel.min(0)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    return _asked(panel, queries)


def number(title: str, description: str, unit: str, query: Query, *levels: Level, decimals: int | None = None) -> Any:
    """One value, the newest; green until a level is reached."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(NUMBER_WIDTH)
        .height(NUMBER_HEIGHT)
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(_levels(levels))
    )
    if decimals is not None:
        panel.decimals(decimals)
    return _asked(panel, [query])


def heat(title: str, description: str, unit: str, query: Query, width: int = GRAPH_WIDTH) -> Any:
    """How values are spread over a histogram's buckets, over time. The query gives increases by `le`."""
    panel = (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(GRAPH_HEIGHT)
        .calculate(False)
        .cell_gap(1)
        .color(heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .show_legend()
    )
    return panel.with_target(_target(query, "A").format(PromQueryFormat.HEATMAP))


def listing(title: str, description: str, unit: str, query: Query, hidden: Sequence[str] = (), width: int = GRAPH_WIDTH) -> Any:
    """A table with a line for each series as it is now: its labels and its value."""
    dropped = dict.fromkeys(("Time", "__name__", "job", "instance", "container", "endpoint", *hidden), True)
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(GRAPH_HEIGHT)
        .with_transformation(models.DataTransformerConfig(id_val="organize", options={"excludeByName": dropped}))
    )
    return panel.with_target(_target(query, "A").instant().format(PromQueryFormat.TABLE))


def _asked(panel: Any, queries: Sequence[Query]) -> Any:
    for ref, query in zip(_REFS, queries, strict=False):
        panel.with_target(_target(query, ref))
    return panel


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expression).ref_id(ref).datasource(SOURCE)
    return target.legend_format(query.legend) if query.legend else target


def _levels(levels: Sequence[Level]) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color=GOOD_BELOW), *(models.Threshold(value=v, color=c) for v, c in levels)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
