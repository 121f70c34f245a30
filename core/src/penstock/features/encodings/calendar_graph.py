"""The calendar as operators: seconds since the epoch to year, month, day and the rest, in UTC.

All values are whole numbers in float64, far below 2**53, so every step is exact. The date comes from the day count in eras of 400
years that begin on 1 March (H. Hinnant, "chrono-compatible low-level date algorithms"): leap days then fall at the end of a year.
"""

import numpy as np

from penstock.features.value import GraphBuilder

DAY_S = 86400.0
FIRST_S, LAST_S = -62135596800.0, 253402300799.0  # the years 1 to 9999


class CalendarGraph:
    """Parts of one timestamp `[1, rows]`, made on demand. NaN, and what lies outside the years 1 to 9999, gives NaN in every
    part.
    """

    def __init__(self, graph: GraphBuilder, x: str) -> None:
        self._graph = graph
        inside = graph.node(
            "And", graph.node("GreaterOrEqual", x, self._c(FIRST_S)), graph.node("LessOrEqual", x, self._c(LAST_S))
        )
        self.instant = graph.node("Where", inside, x, self._c(np.nan))
        self.second_count = graph.node("Floor", self.instant)
        self.day_count = self._div(self.second_count, DAY_S)

    def part(self, name: str) -> str:
        """One part as float64 `[1, rows]`: `year`, `month`, `day`, `hour`, `minute`, `second`, `weekday` (Monday 0) or `yearday`
        (from 1).
        """
        made: str = getattr(self, f"_{name}")()
        return made

    def passed(self, period: str) -> str:
        """The part of the day, week, month or year that has passed, from 0 to below 1."""
        first, days = getattr(self, f"_whole_{period}")()
        gone = self._sub(self.instant, self._mul(first, DAY_S))
        return self._graph.node("Div", gone, self._mul(days, DAY_S))

    def _whole_day(self) -> tuple[str, str]:
        return self.day_count, self._c(1.0)

    def _whole_week(self) -> tuple[str, str]:
        return self._sub(self.day_count, self._weekday()), self._c(7.0)

    def _whole_month(self) -> tuple[str, str]:
        _, _, month = self._civil()
        first = self._sub(self.day_count, self._add(self._day(), -1.0))
        # Months from March have 31 and 30 days in turn, twice in 5 months; February, the last, what the year leaves.
        begin = self._div(self._add(self._mul(month, 153.0), 2.0), 5.0)
        after = self._div(self._add(self._mul(self._add(month, 1.0), 153.0), 2.0), 5.0)
        year = self._year()
        leap = self._sub(self._sub(self._year_start(self._add(year, 1.0)), self._year_start(year)), self._c(365.0))
        february = self._graph.node("Equal", month, self._c(11.0))
        days = self._graph.node("Where", february, self._add(leap, 28.0), self._sub(after, begin))
        return first, days

    def _whole_year(self) -> tuple[str, str]:
        year = self._year()
        first = self._year_start(year)
        return first, self._sub(self._year_start(self._add(year, 1.0)), first)

    def _hour(self) -> str:
        return self._div(self._second_of_day(), 3600.0)

    def _minute(self) -> str:
        return self._mod(self._div(self._second_of_day(), 60.0), 60.0)

    def _second(self) -> str:
        return self._mod(self._second_of_day(), 60.0)

    def _weekday(self) -> str:
        return self._mod(self._add(self.day_count, 3.0), 7.0)

    def _yearday(self) -> str:
        return self._add(self._sub(self.day_count, self._year_start(self._year())), 1.0)

    def _second_of_day(self) -> str:
        return self._mod(self.second_count, DAY_S)

    def _civil(self) -> tuple[str, str, str]:
        """(year that begins in March, day of that year, month from March 0)."""
        shifted = self._add(self.day_count, 719468.0)
        era = self._div(shifted, 146097.0)
        day = self._sub(shifted, self._mul(era, 146097.0))
        leaps = self._sub(day, self._div(day, 1460.0))
        leaps = self._plus(leaps, self._div(day, 36524.0))
        year = self._div(self._sub(leaps, self._div(day, 146096.0)), 365.0)
        before = self._plus(self._mul(year, 365.0), self._div(year, 4.0))
        yearday = self._sub(day, self._sub(before, self._div(year, 100.0)))
        month = self._div(self._add(self._mul(yearday, 5.0), 2.0), 153.0)
        return self._plus(year, self._mul(era, 400.0)), yearday, month

    def _year(self) -> str:
        year, _, month = self._civil()
        return self._plus(year, self._late(month))

    def _month(self) -> str:
        _, _, month = self._civil()
        return self._sub(self._add(month, 3.0), self._mul(self._late(month), 12.0))

    def _day(self) -> str:
        _, yearday, month = self._civil()
        before = self._div(self._add(self._mul(month, 153.0), 2.0), 5.0)
        return self._add(self._sub(yearday, before), 1.0)

    def _late(self, month: str) -> str:
        """1 in January and February, which belong to the March year before; NaN stays NaN."""
        return self._div(self._add(month, 2.0), 12.0)

    def _year_start(self, year: str) -> str:
        """Days from the epoch to 1 January."""
        past = self._add(year, -1.0)
        leaps = self._sub(self._div(past, 4.0), self._div(past, 100.0))
        days = self._plus(self._mul(past, 365.0), self._plus(leaps, self._div(past, 400.0)))
        return self._add(days, -719162.0)

    def _c(self, number: float) -> str:
        return self._graph.constant(np.array([[number]]))

    def _add(self, x: str, number: float) -> str:
        return self._graph.node("Add", x, self._c(number))

    def _mul(self, x: str, number: float) -> str:
        return self._graph.node("Mul", x, self._c(number))

    def _div(self, x: str, number: float) -> str:
        return self._graph.node("Floor", self._graph.node("Div", x, self._c(number)))

    def _mod(self, x: str, number: float) -> str:
        return self._sub(x, self._mul(self._div(x, number), number))

    def _sub(self, x: str, y: str) -> str:
        return self._graph.node("Sub", x, y)

    def _plus(self, x: str, y: str) -> str:
        return self._graph.node("Add", x, y)
