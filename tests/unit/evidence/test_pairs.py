"""What a shadow's pairs came to, as it is told."""

from typing import cast

from penstock_transformer.evidence.keys import KeyWindow
from penstock_transformer.evidence.pairs import Half, Pair, PairSums
from penstock_transformer.evidence.sums import Sums


def test_what_was_told_does_not_change_with_what_comes_later() -> None:
    into = PairSums(KeyWindow())
    pair = Pair(into)
    pair.answer = Half(cast(Sums, None), None, 0.1, 1)
    pair.shadow = Half(cast(Sums, None), "internal", 0.1, 1)
    assert into.failed(pair)
    told = into.told()
    assert into.failed(pair)
    assert (told.requests, told.only_shadow_failed) == (1, 1)
    assert told.keys is not None
    assert (told.keys.requests, told.keys.only_shadow_failed) == (1, 1)
    assert into.told().requests == 2
