"""Sums of e-values by their logs."""

from math import exp, inf, log

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock_operator.statistics.betting import NEVER, log_sum


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
@example(NEVER, NEVER)
@example(0.0, -0.0)
@example(inf, 0.0)
@example(inf, inf)
def test_two_are_added_as_any_number_is(one: float, other: float) -> None:
    # One that is never adds nothing, and is not two any more.
    assert log_sum((one, other)) == log_sum([one, other, NEVER]) == log_sum((other, one))


def test_a_sum_is_that_of_the_values() -> None:
    assert exp(log_sum((log(2.0), log(3.0)))) == pytest.approx(5.0)
    assert exp(log_sum([log(2.0), log(3.0), log(4.0)])) == pytest.approx(9.0)
    assert log_sum([]) == NEVER
    assert log_sum([-3.0]) == -3.0
    assert log_sum((inf, 0.0)) == log_sum([inf, inf, NEVER]) == inf
