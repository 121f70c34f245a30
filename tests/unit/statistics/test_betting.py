"""Sums of e-values by their logs."""

from math import exp, isnan, log

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock_operator.statistics.betting import NEVER, log_sum


@given(st.floats(), st.floats())
@example(NEVER, NEVER)
@example(0.0, -0.0)
@example(float("inf"), 0.0)
def test_two_are_added_as_any_number_is(one: float, other: float) -> None:
    # One that is never adds nothing, and is not two any more.
    found, by_many = log_sum((one, other)), log_sum([one, other, NEVER])
    assert found == by_many or (isnan(found) and isnan(by_many))
    assert log_sum((other, one)) == found or isnan(found)


def test_a_sum_is_that_of_the_values() -> None:
    assert exp(log_sum((log(2.0), log(3.0)))) == pytest.approx(5.0)
    assert exp(log_sum([log(2.0), log(3.0), log(4.0)])) == pytest.approx(9.0)
    assert log_sum([]) == NEVER
    assert log_sum([-3.0]) == -3.0
