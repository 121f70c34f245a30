"""timestampParts and timestampCycles: what the calendar and the clock say, in UTC.

timestampParts gives whole numbers, exact: `year`, `month` (1 to 12), `day` (1 to 31), `hour`, `minute`, `second`, `weekday`
(Monday 0), `yearday` (1 to 366). timestampCycles gives sine and cosine of the part that has passed of each period (`day`, `week`,
`month`, `year`), two columns each, within 1e-9 of the definition. NaN, and instants outside the years 1 to 9999, give NaN.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput
from penstock.features.encodings.calendar_graph import DAY_S, FIRST_S, LAST_S, CalendarGraph
from penstock.features.encodings.encoding import Encoding, Numbers, Scope
from penstock.features.parameters import Parameters, describe, one_of
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType

PARTS = ("year", "month", "day", "hour", "minute", "second", "weekday", "yearday")
PERIODS = ("day", "week", "month", "year")


def _read_words(p: Parameters, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    words = p.items(name)
    for index, word in enumerate(words):
        field = f"{p.field(name)}[{index}]"
        if word not in known:
            raise InvalidInput(f"expected {one_of(known)}, got {describe(word)}", field=field)
        if word in words[:index]:
            raise InvalidInput(f"{word} is given twice", field=field)
    if not words:
        raise InvalidInput("expected at least one", field=p.field(name))
    return tuple(words)


def _require_timestamp(p: Parameters, given: ValueType, kind: str) -> None:
    if given.kind != "float64" or given.shape or not given.timestamp:
        raise InvalidInput(f"{kind} comes first, on a feature of type timestamp", field=p.path)


@dataclass(frozen=True, slots=True)
class TimestampParts(Encoding):
    """`timestampParts: {parts: [hour, weekday]}`"""

    parts: tuple[str, ...]

    kind = "timestampParts"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        _require_timestamp(p, given, cls.kind)
        return cls(_read_words(p, "parts", PARTS))

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float64", (len(self.parts),) if len(self.parts) > 1 else ())

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        calendar = _Calendar(value.numbers())
        columns = [calendar.part(part) for part in self.parts]
        return Value(np.stack(columns, axis=1) if len(columns) > 1 else columns[0])

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        calendar = CalendarGraph(graph, graph.numbers(value))
        columns = [calendar.part(part) for part in self.parts]
        name = graph.node("Concat", *columns, axis=0) if len(columns) > 1 else columns[0]
        return GraphValue(name, self.result(value.type))


@dataclass(frozen=True, slots=True)
class TimestampCycles(Encoding):
    """`timestampCycles: {periods: [day, year]}`: sin, cos of the first period, sin, cos of the second …"""

    periods: tuple[str, ...]

    kind = "timestampCycles"

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        _require_timestamp(p, given, cls.kind)
        return cls(_read_words(p, "periods", PERIODS))

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float64", (2 * len(self.periods),))

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        calendar = _Calendar(value.numbers())
        angles = [2 * math.pi * calendar.passed(period) for period in self.periods]
        return Value(np.stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1))

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        calendar = CalendarGraph(graph, graph.numbers(value))
        quarter = graph.constant(np.array([[math.pi / 2]]))
        waves = []
        for period in self.periods:
            angle = graph.node("Mul", calendar.passed(period), graph.constant(np.array([[2 * math.pi]])))
            waves.append(graph.node("Sin", angle))
            # A sine moved by a quarter: not every runtime in use has a cosine of float64.
            waves.append(graph.node("Sin", graph.node("Add", angle, quarter)))
        return GraphValue(graph.node("Concat", *waves, axis=0), self.result(value.type))


class _Calendar:
    """The definition, by numpy's own calendar."""

    def __init__(self, x: Numbers) -> None:
        self.valid = (x >= FIRST_S) & (x <= LAST_S)
        self.x = np.where(self.valid, x, 0.0)
        self.instant = np.floor(self.x).astype("datetime64[s]")
        self.day = self.instant.astype("datetime64[D]")
        self.month = self.instant.astype("datetime64[M]")
        self.year = self.instant.astype("datetime64[Y]")

    def part(self, name: str) -> Numbers:
        seconds = np.floor(self.x).astype(np.int64)
        days = self.day.astype(np.int64)
        made: dict[str, npt.NDArray[Any]] = {
            "year": self.year.astype(np.int64) + 1970,
            "month": self.month.astype(np.int64) % 12 + 1,
            "day": (self.day - self.month.astype("datetime64[D]")).astype(np.int64) + 1,
            "hour": seconds // 3600 % 24,
            "minute": seconds // 60 % 60,
            "second": seconds % 60,
            "weekday": (days + 3) % 7,
            "yearday": (self.day - self.year.astype("datetime64[D]")).astype(np.int64) + 1,
        }
        return np.where(self.valid, made[name].astype(np.float64), np.nan)

    def passed(self, period: str) -> Numbers:
        """The part of the period that has passed, from 0 to below 1."""
        week = self.day.astype(np.int64) - (self.day.astype(np.int64) + 3) % 7
        starts: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {
            "day": (self.day, self.day + 1),
            "week": (week.astype("datetime64[D]"), (week + 7).astype("datetime64[D]")),
            "month": (self.month, self.month + 1),
            "year": (self.year, self.year + 1),
        }
        first, after = (edge.astype("datetime64[D]").astype(np.int64) * DAY_S for edge in starts[period])
        return np.where(self.valid, (self.x - first) / (after - first), np.nan)
