"""Moments as statuses write them: RFC 3339 in UTC with milliseconds, so that text order is time order."""

from datetime import UTC, datetime

from penstock.errors import InvalidInput
from penstock.features.durations import read_duration


def write_moment(epoch_s: float) -> str:
    """`2026-01-02T03:04:05.678Z` of seconds since 1970."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_moment(text: str, otherwise: float) -> float:
    """Seconds since 1970; `otherwise` for what is no moment."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return otherwise


def duration_s(text: str, otherwise: float) -> float:
    """Seconds of a duration such as `2h`; 0 for `0s`, `otherwise` for what the schema would have refused."""
    try:
        return read_duration(text, "duration")
    except InvalidInput:
        return 0.0 if text.strip("0.wdhms") == "" and text else otherwise
