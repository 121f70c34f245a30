"""A mapping from a spec, read field by field with errors that name the field's whole path.

Whoever reads asks for each field it knows and then calls `done`, which refuses every field that nobody asked for: a misspelt
option is an error, not a default.
"""

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from penstock.errors import InvalidInput

T = TypeVar("T")
_ABSENT = object()


class Parameters:
    """Read access to one mapping at `path`. In a draft, fields that `fit` computes may be absent: `missing_fit` collects them."""

    def __init__(self, values: Any, path: str) -> None:
        if not isinstance(values, dict):
            raise InvalidInput(f"expected a mapping of fields, got {describe(values)}", field=path)
        self.values: dict[str, Any] = values
        self.path = path
        self._asked: set[str] = set()

    def field(self, name: str) -> str:
        """The whole path of a field, as errors name it."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Whether the field is given; it counts as known from then on."""
        self._asked.add(name)
        return name in self.values

    def any(self, name: str, default: Any = _ABSENT) -> Any:
        """The field as it is. Raises InvalidInput if it is absent and has no default."""
        self._asked.add(name)
        value = self.values.get(name, default)
        if value is _ABSENT:
            raise InvalidInput("is required", field=self.field(name))
        return value

    def number(self, name: str, default: Any = _ABSENT, *, finite: bool = True, above: float | None = None) -> float:
        """A float. `above`: the exclusive lower limit. Raises InvalidInput for anything but a number."""
        value = self.any(name, default)
        if type(value) not in (int, float):
            raise InvalidInput(f"expected a number, got {describe(value)}", field=self.field(name))
        number = as_float(value, self.field(name))
        if finite and not math.isfinite(number):
            raise InvalidInput(f"expected a finite number, got {number}", field=self.field(name))
        if above is not None and not number > above:
            raise InvalidInput(f"expected a number above {above:g}, got {number:g}", field=self.field(name))
        return number

    def integer(self, name: str, default: Any = _ABSENT, *, least: int = -(2**63), most: int = 2**63 - 1) -> int:
        """An int from `least` to `most`."""
        value = self.any(name, default)
        if type(value) is not int or not least <= value <= most:
            limits = "" if (least, most) == (-(2**63), 2**63 - 1) else f" from {least} to {most}"
            raise InvalidInput(f"expected an integer{limits}, got {describe(value)}", field=self.field(name))
        return value

    def text(self, name: str, default: Any = _ABSENT) -> str:
        """A non-empty string."""
        value = self.any(name, default)
        if not isinstance(value, str) or not value:
            raise InvalidInput(f"expected a name, got {describe(value)}", field=self.field(name))
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false."""
        value = self.any(name, default)
        if not isinstance(value, bool):
            raise InvalidInput(f"expected true or false, got {describe(value)}", field=self.field(name))
        return value

    def choice(self, name: str, choices: Iterable[str], default: Any = _ABSENT) -> str:
        """One of a few words."""
        value = self.any(name, default)
        known = list(choices)
        if not isinstance(value, str) or value not in known:
            raise InvalidInput(f"expected {one_of(known)}, got {describe(value)}{suggest(value, known)}", field=self.field(name))
        return value

    def items(self, name: str, default: Any = _ABSENT) -> list[Any]:
        """A list."""
        value = self.any(name, default)
        if not isinstance(value, list):
            raise InvalidInput(f"expected a list, got {describe(value)}", field=self.field(name))
        return value

    def numbers(self, name: str, default: Any = _ABSENT, *, least: int = 0) -> tuple[float, ...]:
        """A list of at least `least` finite numbers."""
        values = self.items(name, default)
        for index, value in enumerate(values):
            if type(value) not in (int, float) or not math.isfinite(as_float(value, f"{self.field(name)}[{index}]")):
                raise InvalidInput(f"expected a finite number, got {describe(value)}", field=f"{self.field(name)}[{index}]")
        if len(values) < least:
            raise InvalidInput(f"expected at least {least} number{'s' * (least > 1)}, got {len(values)}", field=self.field(name))
        return tuple(float(value) for value in values)

    def mapping(self, name: str, default: Any = _ABSENT) -> "Parameters":
        """A nested mapping."""
        return Parameters(self.any(name, default), self.field(name))

    def each(self, name: str, read: Callable[["Parameters"], T]) -> list[T]:
        """A list of mappings, each read by `read`."""
        return [read(Parameters(value, f"{self.field(name)}[{index}]")) for index, value in enumerate(self.items(name))]

    def done(self) -> None:
        """Raises InvalidInput for the first field that nobody asked for."""
        for name in self.values:
            if name not in self._asked:
                hint = suggest(name, self._asked) or (f"; known: {', '.join(sorted(self._asked))}" if self._asked else "")
                raise InvalidInput(f"unknown field{hint}", field=self.field(name))


def as_float(value: float, field: str) -> float:
    """An int or float as a float. Raises InvalidInput for an int beyond float64."""
    try:
        return float(value)
    except OverflowError:
        raise InvalidInput("is too large for a number of 64 bits", field=field) from None


def describe(value: Any) -> str:
    """A value as an error shows it: short, with the kind where that is the surprise."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_of(words: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *first, last = list(words)
    return f"{', '.join(first)} or {last}" if first else last


def suggest(word: Any, known: Iterable[str]) -> str:
    """`; did you mean x?` for a near miss, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1) if isinstance(word, str) else []
    return f"; did you mean {near[0]}?" if near else ""
