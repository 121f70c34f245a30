"""Pods that refuse are set aside for ever longer, up to a bound, however long they refuse."""

from typing import Any, cast

import pytest

from penstock.errors import UpstreamUnavailable
from penstock_transformer import spread
from penstock_transformer.call import ATTEMPTS
from penstock_transformer.spread import FIRST_ASIDE_S, LONGEST_ASIDE_S, Spread


class Refusing:
    failures = 0
    aside_until = 0.0


class Spent:
    attempts = ATTEMPTS


def test_a_pod_that_has_refused_for_a_day_is_set_aside_as_one_that_has_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(spread.time, "monotonic", lambda: now)
    pods = Spread(cast(Any, None), cast(Any, None))
    pool = Refusing()
    pauses = []
    for _ in range(3000):
        assert pods.again(cast(Any, Spent()), cast(Any, pool), UpstreamUnavailable("refused")) is False
        pauses.append(pool.aside_until - now)
        now = pool.aside_until
    assert pauses[0] == FIRST_ASIDE_S
    assert max(pauses) <= LONGEST_ASIDE_S + 0.001
    assert pauses[-1] == pytest.approx(LONGEST_ASIDE_S)
