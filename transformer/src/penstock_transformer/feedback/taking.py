"""From an answered batch to what is logged of it; on the log's thread, where it costs no request anything.

Group --take--> Taken (references, nothing copied) --queue--> documents: one LoggedRequest a request that was drawn
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from penstock.errors import InvalidInput
from penstock.tensors import Array
from penstock_transformer.active import ActiveBundle
from penstock_transformer.feedback.costs import read_costs
from penstock_transformer.feedback.document import Fetched, LoggedRequest, LoggedRow, answer_of, logged_value
from penstock_transformer.gathering import Gathered
from penstock_transformer.plan import FetchPlan, SetPlan
from penstock_transformer.prediction_data import json_value
from penstock_transformer.requests import Row
from penstock_transformer.row_source import RowSource

_MOST_COSTS = 256


class Pick(NamedTuple):
    """A request that was drawn: its rows are `start` to `stop` of the batch, `part` as the caller sent them. `revision`: of the
    route that chose its bundle."""

    id: str
    model: str
    route_key: str | None
    chance: float
    shadow: bool
    part: list[Row] | dict[str, Array]
    start: int
    stop: int
    revision: int | None = None


class Taken(NamedTuple):
    """A batch with requests that were drawn. `gathered` None: the bundle has no features. `predictions` empty: nobody asked for
    any, they are made of `outputs`. `nbytes`: about what it holds in memory."""

    bundle: ActiveBundle
    now_s: float
    picks: list[Pick]
    gathered: Gathered | None
    predictions: list[dict[str, Any]]
    outputs: dict[str, Array]
    degraded: bool
    nbytes: int


def documents(taken: Taken) -> Iterator[LoggedRequest]:
    """What is logged of a batch."""
    bundle = taken.bundle
    costs = _costs(bundle)
    for pick in taken.picks:
        rows = list(_rows(taken, pick))
        yield LoggedRequest(
            id=pick.id,
            time=taken.now_s,
            model=pick.model,
            bundle=bundle.digest,
            name=bundle.manifest.name,
            version=bundle.version,
            chance=pick.chance,
            rows=rows,
            route_key=pick.route_key,
            shadow=pick.shadow,
            degraded=taken.degraded,
            revision=pick.revision,
            costs=costs,
        )


def _costs(bundle: ActiveBundle) -> dict[str, Any] | None:
    """The card's table, where it is one and small enough to stand in each record."""
    try:
        costs = read_costs(bundle.manifest.card)
    except InvalidInput:
        return None
    if costs is None or sum(map(len, costs.table.values())) > _MOST_COSTS:
        return None
    return costs.card()


def _rows(taken: Taken, pick: Pick) -> Iterator[LoggedRow]:
    plan, gathered = taken.bundle.plan, taken.gathered
    sent = _sent(pick, plan)
    answers = _answers(taken, pick)
    for at, (row, answer) in enumerate(zip(sent, answers, strict=True)):
        fetched: dict[str, Fetched] = {}
        record = None
        if plan is not None and gathered is not None:
            fetched = {one.name: _fetched(one, plan, gathered, pick.start + at, row) for one in plan.sets}
            record = _record_of(plan, fetched)
        yield LoggedRow({name: logged_value(value) for name, value in row.items()}, fetched, answer, record)


def _sent(pick: Pick, plan: FetchPlan | None) -> list[Row]:
    """The caller's rows, without what they leave open."""
    if isinstance(pick.part, list):
        return pick.part
    count = pick.stop - pick.start
    if plan is None:
        return [{name: array[at] for name, array in pick.part.items()} for at in range(count)]
    source = RowSource([pick.part], [count])
    columns = {name: source.values(name) for name in pick.part}
    return [{name: values[at] for name, values in columns.items() if values[at] is not None} for at in range(count)]


def _answers(taken: Taken, pick: Pick) -> list[dict[str, Any]]:
    if taken.predictions:
        made = taken.predictions[pick.start : pick.stop]
    else:
        own = {name: array[pick.start : pick.stop] for name, array in taken.outputs.items()}
        made = taken.bundle.postprocessor.apply(own)
    return [answer_of(prediction) for prediction in made]


def _fetched(one: SetPlan, plan: FetchPlan, gathered: Gathered, row: int, sent: Row) -> Fetched:
    """What a set brought for a row; of the record's, only what the bundle reads."""
    stored = gathered.stored.get(one.name)
    names = dict.fromkeys((*one.columns, *plan.fills) if one is plan.record else one.columns)
    key = [_key_part(column, plan, gathered, row, sent) for column in one.key_columns]
    if stored is None:
        return Fetched(one.view, None, None, {})
    time = float(stored.event_times[row])
    values = {}
    for name in names:
        column = stored.columns.get(name)
        if column is not None:
            values[name] = None if column.missing[row] else _stored_value(column.values[row])
    whole = None if None in key else [logged_value(part) for part in key]
    return Fetched(one.view, whole, None if np.isnan(time) else time, values)


def _stored_value(value: Any) -> Any:
    return logged_value(value if isinstance(value, bytes) else json_value(value))


def _key_part(column: str, plan: FetchPlan, gathered: Gathered, row: int, sent: Row) -> Any:
    """A key column's value: the row's own, else the record's."""
    value = sent.get(column)
    if value is not None or plan.record is None or column not in plan.fills:
        return value
    record = gathered.stored.get(plan.record.name)
    stored = None if record is None else record.columns.get(column)
    return None if stored is None or stored.missing[row] else json_value(stored.values[row])


def _record_of(plan: FetchPlan, fetched: dict[str, Fetched]) -> str | None:
    if plan.record is None:
        return None
    key = fetched[plan.record.name].key
    return None if key is None or len(key) != 1 else str(key[0])
