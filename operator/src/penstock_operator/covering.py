"""Whether an object that was seen already is what is wanted: every wanted field is there with the same value.

What others have added (defaults, status, annotations of a controller) is not compared. Quantities count by value: the API server
may give back `1` for what was written as `1000m`.
"""

import re
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti|)")
_SIZES = {
    "m": Decimal("0.001"), "": Decimal(1), "k": Decimal(10**3), "Ki": Decimal(2**10), "M": Decimal(10**6),
    "Mi": Decimal(2**20), "G": Decimal(10**9), "Gi": Decimal(2**30), "T": Decimal(10**12), "Ti": Decimal(2**40),
}  # fmt: skip


def covers(seen: Any, wanted: Any) -> bool:
    """Whether `seen` has everything that `wanted` says. Lists are compared item by item, and have to have the same length."""
    if seen == wanted:
        return True
    if isinstance(wanted, dict):
        return isinstance(seen, dict) and all(name in seen and covers(seen[name], value) for name, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return isinstance(seen, list | tuple) and len(seen) == len(wanted) and all(map(covers, seen, wanted))
    return _amount(seen) == _amount(wanted) != None  # noqa: E711 - a chain of comparisons


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = _QUANTITY.fullmatch(str(value))
    return Decimal(found[1]) * _SIZES[found[2]] if found else None
