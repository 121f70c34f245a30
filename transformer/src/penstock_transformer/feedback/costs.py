"""What right and wrong answers cost: the table in `bundle.yaml`'s card.

card:
  costs:
    late:    {on time: 40, late: 5}      # true label: {predicted label: cost of one}; a gain is a negative cost
    on time: {late: 5}                   # what is not named costs nothing

card:
  costs: {over: 1.0, under: 3.0}         # of a number: a unit too much, a unit too little
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from penstock.errors import InvalidInput

OVER, UNDER = "over", "under"


@dataclass(frozen=True)
class Costs:
    """`table[true][predicted]`, or `over` and `under` a unit."""

    table: dict[str, dict[str, float]] = field(default_factory=dict)
    over: float = 0.0
    under: float = 0.0

    def of_label(self, true: str, predicted: str) -> float:
        """What this answer cost."""
        return self.table.get(true, {}).get(predicted, 0.0)

    def of_value(self, error: float) -> float:
        """What a number cost that was so much too large."""
        return self.over * error if error > 0 else self.under * -error

    def card(self) -> dict[str, Any]:
        """As `read_costs` reads it."""
        return self.table or {OVER: self.over, UNDER: self.under}

    @cached_property
    def digest(self) -> str:
        """What two tables have in common that are one."""
        return hashlib.sha256(json.dumps(self.card(), sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that a label costs; what is not named costs nothing."""
        costs = [0.0, *(cost for row in self.table.values() for cost in row.values())]
        return min(costs), max(costs)


def read_costs(card: Mapping[str, Any]) -> Costs | None:
    """The card's table, None if it has none. Raises InvalidInput naming the place in it."""
    given = card.get("costs")
    if given is None:
        return None
    if not isinstance(given, dict) or not given:
        raise InvalidInput("expected a table of costs: {true label: {predicted label: number}}", field="card.costs")
    if given.keys() <= {OVER, UNDER} and not any(isinstance(value, dict) for value in given.values()):
        numbers = {name: _number(value, f"card.costs.{name}") for name, value in given.items()}
        return Costs(over=numbers.get(OVER, 0.0), under=numbers.get(UNDER, 0.0))
    table = {}
    for true, row in given.items():
        if not isinstance(row, dict):
            raise InvalidInput(f"expected {{predicted label: number}}, got {row!r:.80}", field=f"card.costs.{true}")
        table[str(true)] = {str(name): _number(value, f"card.costs.{true}.{name}") for name, value in row.items()}
    return Costs(table)


@lru_cache(maxsize=64)
def logged_costs(text: str) -> Costs | None:
    """The table of a logged row."""
    try:
        return read_costs({"costs": json.loads(text)})
    except (InvalidInput, ValueError):
        return None


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(f"expected a number, got {value!r:.80}", field=where)
    return float(value)
