"""Whole rollouts with something wrong in them (`played.story`): callers, transformers' own counting, the operator's own loop."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from played.story import Story

from penstock_operator import looking
from penstock_transformer import shadowing


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Story]]:
    """Makes stories that have begun; the operator's clock is theirs. `former`: the stable version has one before it."""

    stories: list[Story] = []

    def make(former: bool = False, **rollout: Any) -> Story:
        made = Story(rollout)
        stories.append(made)
        monkeypatch.setattr(shadowing, "time", SimpleNamespace(monotonic=lambda: made.moment))
        monkeypatch.setattr(looking, "time", SimpleNamespace(time=lambda: made.world.now + made.now_error_s))
        made._runner.run(made.begin(former=former))
        return made

    yield make
    for made in stories:
        made.close()
