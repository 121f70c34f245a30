"""Watches, looks and retrainings as values."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock_transformer.feedback.trigger.bounds import Bound, Drift, Watch
from penstock_transformer.feedback.trigger.look import QUALITY, Finding, Look
from penstock_transformer.feedback.trigger.machine import Memory, Retraining, after_look
from penstock_transformer.feedback.trigger.window import Window

PASSED = Finding(QUALITY, "accuracy", 0.5, 0.52, 0.7, True, least=True)


def watch(**given: Any) -> Watch:
    usual: dict[str, Any] = {
        "model": "flights",
        "window_s": 3600.0,
        "every_s": 600.0,
        "delay_s": 0.0,
        "least_rows": 100,
        "cool_down_s": 1000.0,
        "longest_s": 500.0,
        "quality": (Bound("accuracy", least=0.7),),
        "drift": Drift(),
        "bundles": "",
        "log": "pvc://log",
        "action": None,
    }
    return Watch(**(usual | given))


def look(until: float = 7200.0, *, bundle: str = "sha256:old", findings: tuple[Finding, ...] = (PASSED,), note: str = "") -> Look:
    return Look(Window(until - 3600.0, until), bundle, f"flights@{bundle}", "7", 900, 800, findings, note)


def retraining(**given: Any) -> Retraining:
    due = after_look(Memory(), watch(**given), look(), 7200.0).retraining
    assert due is not None
    return due


@pytest.fixture(name="watch", scope="session")
def _watch() -> Callable[..., Watch]:
    return watch


@pytest.fixture(name="look", scope="session")
def _look() -> Callable[..., Look]:
    return look


@pytest.fixture(name="retraining", scope="session")
def _retraining() -> Callable[..., Retraining]:
    return retraining
