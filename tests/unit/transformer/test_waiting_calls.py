"""Calls that wait for a connection: in order, within bounds, and each counted as long as it waits; and what one leaves behind."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import NotReady
from penstock_transformer.call import Call, WaitingCalls


class Caller:
    disconnected = False


def call(nbytes=1):
    return Call([b"x" * nbytes], 0.0, lambda _: None, caller=Caller())


def test_bounds_of_items_and_bytes():
    waiting = WaitingCalls(3, 100)
    assert [waiting.push(call(n)) for n in (60, 50, 40, 0, 0)] == [True, False, True, True, False]
    assert (len(waiting), waiting.nbytes) == (3, 100)
    assert waiting.pop().nbytes == 60


def test_a_call_larger_than_all_of_the_room_waits_alone():
    waiting = WaitingCalls(3, 100)
    assert waiting.push(call(1000))
    assert not waiting.push(call(1))


@pytest.fixture
def no_collector():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_what_a_call_was_made_for_goes_with_its_end():
    def ended():
        def done(outcome):
            heard.append((outcome, made.attempts))

        made = Call([b"x"], 0.0, done, caller=Caller())
        made.finish(NotReady("not yet"))
        made.finish(NotReady("nor later"))
        return weakref.ref(done), made

    heard = []
    told, made = ended()
    assert [str(outcome) for outcome, _ in heard] == ["not yet"]
    assert made.finished
    assert told() is None


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["push", "push", "pop", "leave", "clear", "sweep"])), max_size=40))
def test_what_waits_is_what_is_counted(steps):
    waiting, model = WaitingCalls(5, 120), []
    for nbytes, step in steps:
        if step == "push":
            new = call(nbytes)
            fits = len(model) < 5 and (not model or sum(c.nbytes for c in model) + nbytes <= 120)
            assert waiting.push(new) is fits
            model += [new] if fits else []
        elif step == "pop" and model:
            assert waiting.pop() is model.pop(0)
        elif step == "leave" and model:
            model[nbytes % len(model)].caller.disconnected = True
        elif step == "clear":
            assert waiting.clear() == model
            model = []
        elif step == "sweep":
            assert waiting.take_abandoned() == [c for c in model if c.abandoned]
            model = [c for c in model if not c.abandoned]
        assert (len(waiting), waiting.nbytes) == (len(model), sum(c.nbytes for c in model))
