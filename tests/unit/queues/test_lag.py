"""Figures from offsets and times: properties that hold whatever a broker says, and the cases that have a name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.queues.lag import Oldest, Sample, Window, needs_look, place_of, total

NOW_MS = 1_000_000.0


def window(*samples: Sample) -> Window:
    made = Window()
    for sample in samples:
        made.add(sample)
    return made


offsets = st.integers(0, 10**12)


@st.composite
def histories(draw: Any) -> list[Sample]:
    """A partition over time: offsets that grow, are cleaned away from the beginning, or start again with a topic made anew."""
    at_s, first, end, committed = 0.0, 0, 0, None
    samples = []
    for _ in range(draw(st.integers(1, 40))):
        at_s += draw(st.floats(0.01, 40))
        if draw(st.integers(0, 9)) == 0:
            first, end, committed = 0, 0, None
        end += draw(st.integers(0, 1000))
        first = draw(st.integers(first, end))
        if draw(st.booleans()):
            committed = draw(st.integers(min(committed or 0, end), end))
        samples.append(Sample(at_s, first, end, committed))
    return samples


@given(histories(), st.one_of(st.none(), st.tuples(offsets, offsets, st.one_of(st.none(), st.integers(0, 2_000_000)))))
def test_no_figure_is_negative_and_lag_is_never_more_than_what_is_kept(samples: list[Sample], known: Any) -> None:
    oldest = None if known is None else Oldest(*known)
    made = Window()
    for sample in samples:
        made.add(sample)
        figures = made.figures(0, oldest, NOW_MS, grouped=True)
        assert figures.lag_records is not None
        assert 0 <= figures.lag_records <= sample.end - sample.first
        assert figures.lag_s is None or figures.lag_s >= 0
        assert figures.rate_in >= 0
        assert (figures.rate_out or 0) >= 0
        alone = made.figures(0, None, NOW_MS, grouped=False)
        assert (alone.lag_records, alone.lag_s, alone.rate_out) == (None, None, None)


@given(histories())
def test_a_rate_is_what_came_over_the_time_that_it_came_in(samples: list[Sample]) -> None:
    made = Window()
    for at, sample in enumerate(samples):
        made.add(sample)
        begin = at
        while begin > 0 and samples[begin - 1].end <= samples[begin].end and sample.at_s - samples[begin].at_s < 60:
            begin -= 1
        oldest = samples[begin]
        passed = sample.at_s - oldest.at_s
        expected = round((sample.end - oldest.end) / passed, 3) if passed > 0 else 0.0
        assert made.figures(0, None, NOW_MS, grouped=True).rate_in == pytest.approx(expected)
        assert len(made._samples) <= at + 1


def test_a_window_holds_a_minute_and_no_more() -> None:
    made = window(*(Sample(float(at), 0, at * 5, at * 3) for at in range(1000)))
    assert len(made._samples) == 61
    figures = made.figures(3, None, NOW_MS, grouped=True)
    assert (figures.partition, figures.rate_in, figures.rate_out) == (3, 5.0, 3.0)


@pytest.mark.parametrize(
    ("sample", "oldest", "lag"),
    [
        (Sample(0, 0, 10, 10), None, (0, 0.0)),
        (Sample(0, 0, 10, 4), None, (6, None)),
        (Sample(0, 0, 10, 4), Oldest(4, 10, 940_000), (6, 60.0)),
        # The clocks of machines differ.
        (Sample(0, 0, 10, 4), Oldest(4, 10, 1_000_900), (6, 0.0)),
        # What was looked up is of before.
        (Sample(0, 0, 10, 5), Oldest(4, 10, 940_000), (5, None)),
        # The ends of transactions are all that is left.
        (Sample(0, 0, 10, 9), Oldest(9, 10, None), (0, 0.0)),
        (Sample(0, 0, 12, 9), Oldest(9, 10, None), (2, None)),
        # Nothing was ever committed; and: what was not read is gone.
        (Sample(0, 3, 10, None), Oldest(3, 10, 999_000), (7, 1.0)),
        (Sample(0, 8, 10, 4), Oldest(8, 10, 999_000), (2, 1.0)),
        (Sample(0, 0, 0, None), None, (0, 0.0)),
    ],
)
def test_lag(sample: Sample, oldest: Oldest | None, lag: tuple[int, float | None]) -> None:
    figures = window(sample).figures(0, oldest, NOW_MS, grouped=True)
    assert (figures.lag_records, figures.lag_s) == lag


@given(histories(), st.one_of(st.none(), st.tuples(offsets, offsets, st.one_of(st.none(), st.integers(0, 10**6)))))
def test_after_a_look_there_is_none_needed_until_something_changes(samples: list[Sample], known: Any) -> None:
    for sample in samples:
        oldest = None if known is None else Oldest(*known)
        if needs_look(sample, oldest):
            assert place_of(sample) < sample.end
            for found in (None, 5):
                assert not needs_look(sample, Oldest(place_of(sample), sample.end, found))


def test_a_topic_is_as_far_behind_as_its_oldest_partition() -> None:
    parts = [
        window(Sample(0, 0, 10, 4)).figures(0, Oldest(4, 10, 940_000), NOW_MS, grouped=True),
        window(Sample(0, 0, 10, 7)).figures(1, Oldest(7, 10, 700_000), NOW_MS, grouped=True),
        window(Sample(0, 2, 10, 10)).figures(2, None, NOW_MS, grouped=True),
    ]
    found = total("t", "requests", "g", parts)
    assert (found.lag_records, found.lag_s, found.records) == (9, 300.0, 28)
    alone = total("t", "predictions", None, parts)
    assert (alone.lag_records, alone.lag_s, alone.rate_out) == (None, None, None)
