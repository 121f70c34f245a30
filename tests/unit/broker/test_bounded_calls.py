"""Calls that come back, that fail and that never come back; what a call holds is let go of once it is over."""

import gc
import signal
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from penstock_transformer.broker.confluent.bounded_calls import MOST_LEFT, BoundedCalls
from penstock_transformer.broker.port import BrokerError

LONG_S = 60.0


class Held:
    """What a call is made with."""

    def __init__(self) -> None:
        self.calls = 0
        self.ready = threading.Event()

    def call(self) -> None:
        self.calls += 1

    def fail(self) -> None:
        raise ValueError("it fails")

    def stay(self) -> None:
        self.ready.wait()


@pytest.fixture
def bounded() -> Iterator[BoundedCalls]:
    before = threading.enumerate()
    made = BoundedCalls()
    yield made
    made.close()
    # What is under way counts in the whole process.
    for thread in threading.enumerate():
        if thread.name == "bounded-calls" and thread not in before:
            thread.join(LONG_S)
            assert not thread.is_alive()


def test_what_comes_back_and_what_fails(bounded: BoundedCalls) -> None:
    held = Held()
    assert bounded.call(held.call, LONG_S)
    with pytest.raises(ValueError, match="it fails"):
        bounded.call(held.fail, LONG_S)
    assert bounded.call(held.call, LONG_S)
    assert held.calls == 2


def test_what_never_comes_back_is_left_behind_and_the_next_is_made(bounded: BoundedCalls) -> None:
    held = Held()
    assert not bounded.call(held.stay, 0.01)
    assert bounded.call(held.call, LONG_S)
    assert held.calls == 1
    # Its end, however late, is nobody's answer.
    held.ready.set()
    with pytest.raises(ValueError, match="it fails"):
        bounded.call(held.fail, LONG_S)


def test_too_many_that_do_not_come_back_are_an_error_until_they_do(bounded: BoundedCalls) -> None:
    held = Held()
    for _ in range(MOST_LEFT):
        assert not bounded.call(held.stay, 0.01)
    with pytest.raises(BrokerError, match="never came back") as caught:
        bounded.call(held.call, LONG_S)
    assert not caught.value.retryable
    assert held.calls == 0
    held.ready.set()
    for thread in threading.enumerate():
        if thread.name == "bounded-calls":
            thread.join(LONG_S)
    assert bounded.call(held.call, LONG_S)


def test_those_of_all_outlets_count_together(bounded: BoundedCalls) -> None:
    held, other = Held(), BoundedCalls()
    try:
        for each in (bounded, other) * (MOST_LEFT // 2):
            assert not each.call(held.stay, 0.01)
        for each in (bounded, other):
            with pytest.raises(BrokerError, match="never came back"):
                each.call(held.call, LONG_S)
    finally:
        held.ready.set()
        other.close()


def test_a_wait_that_is_broken_off_leaves_no_answer_for_the_next(bounded: BoundedCalls) -> None:
    told = threading.Event()

    def broken_off(*_: Any) -> None:
        if not told.is_set():
            told.set()
            raise InterruptedError

    def break_off() -> None:
        # A signal that comes just before the wait begins does not end it.
        while not told.wait(0.01):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        held.stay()

    held = Held()
    before = signal.signal(signal.SIGUSR1, broken_off)
    try:
        with pytest.raises(InterruptedError):
            bounded.call(break_off, LONG_S)
    finally:
        signal.signal(signal.SIGUSR1, before)
    held.ready.set()
    with pytest.raises(ValueError, match="it fails"):
        bounded.call(held.fail, LONG_S)


def test_nothing_is_held_once_a_call_is_over(bounded: BoundedCalls) -> None:
    held = Held()
    gone = weakref.ref(held)
    gc.disable()
    try:
        assert bounded.call(lambda held=held: held.call(), LONG_S)  # type: ignore[misc]
        del held
        assert gone() is None
    finally:
        gc.enable()
