"""When a retraining is asked for, asked for again, and over: by example, and whatever comes in whatever order."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.feedback.trigger.look import Look
from penstock_transformer.feedback.trigger.machine import Memory, Retraining, after_attempt, after_look, after_progress, to_ask

Make = Callable[..., Any]


def test_a_passed_bound_is_asked_for_once_a_window(watch: Make, look: Make) -> None:
    memory = after_look(Memory(), watch(), look(), 7200.0)
    due = to_ask(memory, 7200.0)
    assert due is not None
    assert (due.window, due.reasons, due.rows) == (look().window, look().passed, 900)
    again = after_look(memory, watch(), look(7800.0), 7800.0)
    assert again.retraining == due


def test_nothing_is_asked_for_within_bounds_without_rows_or_while_somebody_retrains(watch: Make, look: Make) -> None:
    for given_look, busy in ((look(findings=()), False), (look(note="3 rows"), False), (look(), True)):
        memory = after_look(Memory(), watch(), given_look, 7200.0, busy=busy)
        assert memory.retraining is None
        assert memory.judged == given_look.window


def test_a_receiver_that_is_away_is_asked_again_with_the_same(watch: Make, look: Make) -> None:
    memory = after_look(Memory(), watch(), look(), 7200.0)
    due = to_ask(memory, 7200.0)
    memory = after_attempt(memory, "failed", 7200.0, 5.0, "ConnectError")
    assert to_ask(memory, 7204.0) is None
    again = to_ask(memory, 7205.0)
    assert again is not None
    assert due is not None
    assert (again.id, again.window, again.attempts, again.fault) == (due.id, due.window, 1, "ConnectError")
    memory = after_attempt(memory, "delivered", 7206.0)
    assert to_ask(memory, 9999.0) is None
    assert memory.state(7206.0, 1000.0) == "under_way"


def test_one_under_way_ends_by_its_job_by_another_bundle_or_in_silence(watch: Make, look: Make) -> None:
    begun = after_attempt(after_look(Memory(), watch(), look(), 7200.0), "delivered", 7200.0)
    endings: list[tuple[Any, float, str | None]] = [
        ("running", 7300.0, None), ("running", 9e9, None), ("succeeded", 7300.0, "succeeded"), ("failed", 7300.0, "failed"),
        ("removed", 7300.0, "removed"), (None, 7699.0, None), (None, 7700.0, "silent"),
    ]  # fmt: skip
    for progress, now, ending in endings:
        after = after_progress(begun, watch(), progress, now).retraining
        assert after is not None
        assert after.ending == ending, progress
    same = after_look(begun, watch(), look(7800.0), 7800.0)
    assert same.state(7800.0, 1000.0) == "under_way"
    replaced = after_look(begun, watch(), look(7800.0, bundle="sha256:new"), 7800.0).retraining
    assert replaced is not None
    assert (replaced.ending, replaced.ended_s) == ("replaced", 7800.0)
    nobody = after_look(begun, watch(), look(7800.0, bundle="", note="no rows"), 7800.0).retraining
    assert nobody is not None
    assert nobody.ending is None


def test_one_that_nobody_took_ends_too(watch: Make, look: Make) -> None:
    due = after_look(Memory(), watch(), look(), 7200.0)
    for outcome in ("gone", "abandoned"):
        memory = after_attempt(due, outcome, 7200.0, None, "status 410")
        assert memory.state(7300.0, 1000.0) == "cooling"
        assert to_ask(memory, 9e9) is None
    replaced = after_look(due, watch(), look(7800.0, bundle="sha256:new"), 7800.0)
    assert to_ask(replaced, 7800.0) is None


def test_it_cools_down_before_the_next(watch: Make, look: Make) -> None:
    begun = after_attempt(after_look(Memory(), watch(), look(), 7200.0), "delivered", 7200.0)
    ended = after_progress(begun, watch(), "failed", 7300.0)
    assert after_look(ended, watch(), look(8200.0), 8299.0).retraining == ended.retraining
    one = ended.retraining
    after = after_look(ended, watch(), look(8300.0), 8300.0).retraining
    assert one is not None
    assert after is not None
    assert (after.due_s, after.ended_s) == (8300.0, None)
    assert after.id != one.id
    # A window that was asked for is not asked for again, however long ago.
    assert after_look(ended, watch(), look(), 8300.0).retraining == one


_steps = st.one_of(
    st.tuples(st.just("look"), st.booleans(), st.sampled_from(["sha256:a", "sha256:b", ""]), st.booleans()),
    st.tuples(st.just("progress"), st.sampled_from([None, "running", "succeeded", "failed", "removed"])),
    st.tuples(st.just("attempt"), st.sampled_from(["delivered", "failed", "gone", "abandoned"])),
    st.tuples(st.just("wait"), st.integers(1, 2000)),
)


@given(steps=st.lists(_steps, max_size=60))
def test_whatever_comes_one_at_a_time_each_window_once_and_never_hot(steps: list[Any], watch: Make, look: Make) -> None:
    memory, now, rules = Memory(), 10_000.0, watch()
    seen: list[Retraining] = []
    for step in steps:
        before = memory
        match step:
            case ("look", passed, bundle, busy):
                found: Look = look(now // 600 * 600, bundle=bundle, **({} if passed else {"findings": ()}))
                memory = after_look(memory, rules, found, now, busy=busy)
            case ("progress", progress):
                memory = after_progress(memory, rules, progress, now)
            case ("attempt", outcome):
                if to_ask(memory, now) is not None:
                    memory = after_attempt(memory, outcome, now, 30.0)
            case ("wait", seconds):
                now += seconds
        one, earlier = memory.retraining, before.retraining
        if one is not None and (earlier is None or one.id != earlier.id):
            assert earlier is None or (earlier.ended_s is not None and now >= earlier.ended_s + rules.cool_down_s)
            assert one.id not in {known.id for known in seen}
            seen.append(one)
        elif one is not None and earlier is not None:
            fixed = ("id", "model", "bundle", "window", "reasons", "due_s", "rows")
            assert all(getattr(one, name) == getattr(earlier, name) for name in fixed)
            assert earlier.ended_s is None or one == earlier
