"""What a caller may have meant by a name that does not exist."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean x? expected one of …` for a name that is nearly one of those known, else without the question."""
    names = sorted(known)
    expected = f"expected one of {', '.join(names) or 'none'}"
    near = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.7)
    return f"did you mean {near[0]}? {expected}" if near else expected
