"""When a call is sent again, and when it is not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client.call import Answer, Call, Repeat
from penstock.client.retrying import Attempts, Fault, RetryPolicy
from penstock.errors import (
    Conflict,
    DeadlineExceeded,
    Internal,
    NotReady,
    Overloaded,
    PenstockError,
    UpstreamUnavailable,
    WrongBundle,
)

SAFE: Call[Any] = Call("POST", "/", lambda answer: answer)
UNSAFE: Call[Any] = Call("POST", "/", lambda answer: answer, repeat=Repeat.IF_REFUSED)
POLICY = RetryPolicy(attempts=3, base_s=0.1, max_wait_s=5)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(call: Call[Any] = SAFE, timeout_s: float | None = None, clock: Clock | None = None, spread: float = 0.0) -> Attempts:
    made = Attempts(call, POLICY, timeout_s, clock=clock or Clock(), spread=lambda: spread)
    made.headers()
    return made


def refusal(status: int, kind: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, b'{"kind": "%b", "detail": "x"}' % kind.encode() if kind else b"{}")


def test_a_success_is_done() -> None:
    assert attempts().answered(Answer(204, {}, b"")) is None


def test_the_servers_wait_is_kept() -> None:
    assert attempts().answered(refusal(429, retry_after="1", retry_after_ms="40")) == 0.04
    assert attempts(spread=1.0).answered(refusal(503, retry_after="1")) == 1.2


def test_without_one_the_wait_doubles() -> None:
    made = attempts(spread=1.0)
    assert made.answered(refusal(429)) == 0.1
    made.headers()
    assert made.failed(Fault.NOT_SENT, "refused") == 0.2


def test_tries_come_to_an_end() -> None:
    made = attempts()
    for _ in range(2):
        made.answered(refusal(429))
        made.headers()
    with pytest.raises(Overloaded):
        made.answered(refusal(429))


def test_a_longer_wait_than_allowed_is_not_begun() -> None:
    with pytest.raises(Overloaded) as refused:
        attempts().answered(refusal(429, retry_after="60"))
    assert refused.value.retry_after_s == 60


def test_a_wait_that_would_end_behind_the_deadline_is_not_begun() -> None:
    with pytest.raises(NotReady):
        attempts(timeout_s=0.9).answered(refusal(503, retry_after="1"))
    assert attempts(timeout_s=1.1).answered(refusal(503, retry_after="1")) == 1.0


@pytest.mark.parametrize("status, kind", [(412, WrongBundle), (409, Conflict), (504, DeadlineExceeded), (500, Internal)])
def test_what_another_try_would_not_mend(status: int, kind: type[PenstockError]) -> None:
    with pytest.raises(kind):
        attempts().answered(refusal(status))


def test_a_time_out_is_not_tried_again() -> None:
    with pytest.raises(DeadlineExceeded):
        attempts().failed(Fault.TIMED_OUT, "")


def test_what_is_not_safe_to_repeat() -> None:
    assert attempts(UNSAFE).answered(refusal(429)) is not None
    assert attempts(UNSAFE).answered(refusal(503, "not_ready")) is not None
    assert attempts(UNSAFE).failed(Fault.NOT_SENT, "refused")
    assert attempts().failed(Fault.LOST, "reset")
    assert attempts().answered(refusal(503, "upstream_unavailable")) is not None
    with pytest.raises(UpstreamUnavailable):
        attempts(UNSAFE).failed(Fault.LOST, "reset")
    with pytest.raises(UpstreamUnavailable):
        attempts(UNSAFE).answered(refusal(503, "upstream_unavailable"))
    with pytest.raises(UpstreamUnavailable):
        attempts(UNSAFE).answered(refusal(502))


def test_the_server_is_told_what_is_left() -> None:
    clock = Clock()
    made = Attempts(SAFE, POLICY, 2.0, clock=clock)
    assert made.headers() == {"penstock-timeout-ms": "2000"}
    clock.now += 1.5
    assert made.headers() == {"penstock-timeout-ms": "500"}
    clock.now += 0.4999
    assert made.headers() == {"penstock-timeout-ms": "1"}
    clock.now += 1
    with pytest.raises(DeadlineExceeded):
        made.headers()
    assert Attempts(SAFE, POLICY, None).headers() == {}


@given(
    st.lists(
        st.one_of(
            st.sampled_from(list(Fault)),
            st.tuples(st.sampled_from([200, 400, 412, 429, 500, 502, 503, 504]), st.none() | st.integers(0, 20_000)),
        )
    ),
    st.none() | st.floats(0.01, 20),
    st.floats(0, 0.999),
    st.sampled_from([SAFE, UNSAFE]),
    st.floats(0, 3),
)
def test_every_history_ends_in_time(
    events: list[Any], timeout_s: float | None, spread: float, call: Call[Any], each_takes_s: float
) -> None:
    """Whatever happens: at most `attempts` tries, no wait that ends behind the deadline, a success or an error at the end."""
    clock = Clock()
    made = Attempts(call, POLICY, timeout_s, clock=clock, spread=lambda: spread)
    try:
        for event in events:
            made.headers()
            assert made.made <= POLICY.attempts
            clock.now += each_takes_s
            if isinstance(event, Fault):
                wait_s: float | None = made.failed(event, "x")
            else:
                status, wait_ms = event
                wait_s = made.answered(refusal(status, **({} if wait_ms is None else {"retry_after_ms": str(wait_ms)})))
            if wait_s is None:
                assert event[0] == 200
                return
            assert 0 <= wait_s <= POLICY.max_wait_s * 1.2
            clock.now += wait_s
            assert timeout_s is None or clock.now < 100 + timeout_s
    except PenstockError:
        pass
