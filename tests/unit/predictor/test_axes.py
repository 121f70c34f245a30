"""The candidate rule: what the inputs' shapes would allow at most."""

import pytest

from penstock.dataplane import TensorMetadata
from penstock_predictor.axes import Sharing, candidate, tails_vary


def tensors(*shapes: tuple[int, ...]) -> list[TensorMetadata]:
    return [TensorMetadata(f"i{index}", "FP32", shape) for index, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    ("shapes", "sharing", "size"),
    [
        ([(-1, 3)], Sharing.FREE, 0),
        ([(-1, 3), (-1,)], Sharing.FREE, 0),
        ([(4, 3), (4,)], Sharing.FIXED, 4),
        ([(1, 3, 8, 8)], Sharing.FIXED, 1),
        ([(4, 3), (-1, 3)], Sharing.ALONE, 0),
        ([(4,), (5,)], Sharing.ALONE, 0),
        ([(-1, 3), ()], Sharing.ALONE, 0),
        ([(0, 3)], Sharing.ALONE, 0),
        ([], Sharing.ALONE, 0),
    ],
)
def test_candidate(shapes: list[tuple[int, ...]], sharing: Sharing, size: int) -> None:
    rule = candidate(tensors(*shapes))
    assert (rule.sharing, rule.size) == (sharing, size)
    assert rule.reason


def test_tails() -> None:
    assert not tails_vary(tensors((-1, 3), (-1,)))
    assert tails_vary(tensors((-1, 3), (-1, 4, -1)))
