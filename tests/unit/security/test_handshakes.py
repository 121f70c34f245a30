"""Which refused handshakes are told."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.serving.security.handshakes import QUIET_S, Refusals


def test_once_a_peer_and_minute() -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    assert [refusals.due("a"), refusals.due("a"), refusals.due("b")] == [True, False, True]
    now = QUIET_S - 1
    assert not refusals.due("a")
    now = QUIET_S
    assert [refusals.due("a"), refusals.due("a")] == [True, False]


@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 30)), max_size=300))
def test_never_twice_within_a_minute_while_peers_are_few(steps: list[tuple[int, float]]) -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    told: dict[int, float] = {}
    for peer, passed in steps:
        now += passed
        assert refusals.due(str(peer)) is (now - told.get(peer, -QUIET_S) >= QUIET_S)
        if now - told.get(peer, -QUIET_S) >= QUIET_S:
            told[peer] = now


def test_peers_without_number_are_forgotten() -> None:
    refusals = Refusals(lambda: 0.0)
    assert all(refusals.due(str(peer)) for peer in range(5000))
    assert len(refusals._told) == 1024
    assert refusals.due("0")
