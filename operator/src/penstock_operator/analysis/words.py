"""Numbers as sentences use them: per cents and points with as many digits as tell them apart, thousands with commas."""

from collections.abc import Sequence

_DIGITS = ((10.0, 0), (1.0, 1), (0.01, 2))


def decimal(number: float) -> str:
    """Two digits that count, or the whole number: 23, 2.1, 0.35, 0."""
    size = abs(number)
    digits = next((digits for limit, digits in _DIGITS if size >= limit), 3)
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(rate: float) -> str:
    """A rate, 0 to 1, as per cent."""
    return f"{decimal(rate * 100.0)} %"


def points(difference: float) -> str:
    """A difference of rates in points of per cent, without the word."""
    return decimal(difference * 100.0)


def count(number: float) -> str:
    """The whole number: 1,133."""
    return f"{round(number):,}"


def several(number: float, singular: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{count(number)} {singular}" if round(number) == 1 else f"{count(number)} {singular}s"


def per_s(requests_per_s: float) -> str:
    """`1,133 requests/s`, `0.35 requests/s`."""
    return f"{count(requests_per_s) if requests_per_s >= 10.0 else decimal(requests_per_s)} requests/s"


def listed(names: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; of one name at least."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def confidence(alpha: float) -> str:
    """`with 99 % confidence` for an alpha of 0.01."""
    return f"with {decimal_exact(100.0 * (1.0 - alpha))} % confidence"


def decimal_exact(number: float) -> str:
    """All digits up to the sixth, without zeros behind them: 99, 99.5."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def factor(ratio: float) -> str:
    """A ratio with three digits: 1.25, 2.1, 10.4."""
    return f"{ratio:.3g}"


def seconds(duration_s: float) -> str:
    """A duration as people say it: 840 us, 38 ms, 2.1 s."""
    if duration_s < 1e-3:
        return f"{decimal(duration_s * 1e6)} us"
    return f"{decimal(duration_s * 1e3)} ms" if duration_s < 1.0 else f"{decimal(duration_s)} s"
