"""When memory is given back: after rare giants, after giants that have ceased, never while sizes are what they always are."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.onnx.arena import Usual

MIB = 2**20


def shrinks(usual: Usual, sizes: list[int]) -> list[int]:
    """The places at which memory is given back."""
    return [place for place, size in enumerate(sizes) if usual.exceeded(size)]


def test_a_rare_giant_gives_back_at_once_and_every_time() -> None:
    sizes = ([1000] * 100 + [MIB]) * 50
    assert shrinks(Usual(), sizes) == [place for place, size in enumerate(sizes) if size == MIB]


def test_giants_that_come_all_the_time_are_usual_and_forgotten_when_they_cease() -> None:
    usual = Usual()
    assert shrinks(usual, [1000, MIB] * 2000) == [1]
    after = shrinks(usual, [1000] * 5000)
    assert len(after) == 1
    assert after[0] < 2000


@given(st.lists(st.integers(1, 64 * 1024 * 8), max_size=3000))
def test_sizes_of_one_range_never_give_back(sizes: list[int]) -> None:
    assert shrinks(Usual(), sizes) == []


@given(st.lists(st.sampled_from([10, 10_000, MIB, 30 * MIB]), max_size=400))
def test_at_most_one_run_in_twenty_gives_back(sizes: list[int]) -> None:
    assert len(shrinks(Usual(), sizes)) <= len(sizes) // 20 + 1
