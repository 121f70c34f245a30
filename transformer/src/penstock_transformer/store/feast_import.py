"""Feast is imported in two seconds of CPU, not seven: its classes are not instrumented with run-time type checks.

Feast decorates its classes with typeguard's `typechecked`, which parses and compiles each of them anew at every import. The
checks are meant for definitions as they are written; what comes from a registry passed them when it was applied. So whoever only
reads imports Feast inside `unchecked`, and `penstock features apply` does not. `python -O` leaves them out too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def unchecked() -> Iterator[None]:
    """What is imported inside is not instrumented; without effect on what has been imported before, or without typeguard."""
    guard = _typeguard()
    if guard is None:
        yield
        return
    kept = guard.typechecked
    guard.typechecked = _as_it_is
    try:
        yield
    finally:
        guard.typechecked = kept


def _typeguard() -> Any:
    try:
        import typeguard
    except ImportError:
        return None
    return typeguard


def _as_it_is(target: Any = None, **_options: Any) -> Any:
    """In the place of `@typechecked` and of `@typechecked(…)`."""
    return _as_it_is if target is None else target
