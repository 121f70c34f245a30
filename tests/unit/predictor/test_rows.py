"""The row check finds every kind of model out, and lets those share whose rows are independent."""

import numpy as np
import pytest

from penstock.onnx import load
from penstock.testing import models
from penstock_predictor.axes import BatchRule, Sharing, candidate
from penstock_predictor.rows import examine, same
from penstock_predictor.samples import Row, gather


def tried(model: bytes, declared: bool | None = None, golden: list[Row] | None = None) -> BatchRule:
    session = load(model)
    rule = candidate(session.inputs)
    return examine(session, rule, list(gather(session, rule, golden or [])), declared)


@pytest.mark.parametrize("kind", models.ROW_KINDS)
def test_independent_rows_may_share(kind: str) -> None:
    rule = tried(models.ROW_KINDS[kind]())
    assert rule.sharing is Sharing.FREE, rule.reason


@pytest.mark.parametrize("kind", models.ODD_KINDS)
def test_all_others_run_alone(kind: str) -> None:
    assert tried(models.ODD_KINDS[kind]()).sharing is Sharing.ALONE


@pytest.mark.parametrize("declared", [None, True])
def test_what_was_seen_outweighs_what_was_declared(declared: bool | None) -> None:
    rule = tried(models.centred(), declared)
    assert rule.sharing is Sharing.ALONE
    assert "rows interact" in rule.reason


def test_a_bundle_that_says_rows_interact_is_believed() -> None:
    assert tried(models.mlp(), declared=False).sharing is Sharing.ALONE


def test_fixed_rows_are_padded_only_where_mates_do_not_matter() -> None:
    rule = tried(models.fixed(4))
    assert (rule.sharing, rule.size) == (Sharing.FIXED, 4)
    assert tried(models.fixed(1)).sharing is Sharing.FIXED
    assert tried(models.fixed_centred(4)).sharing is Sharing.ALONE


def test_without_samples_only_the_bundles_word_counts() -> None:
    session = load(models.mlp())
    rule = candidate(session.inputs)
    assert examine(session, rule, [], None).sharing is Sharing.ALONE
    assert examine(session, rule, [], True).sharing is Sharing.FREE


def test_random_integers_get_tamer_until_the_model_takes_them() -> None:
    session = load(models.embedding(2))
    (samples,) = gather(session, candidate(session.inputs), [])
    assert max(int(row["index"][0]) for row in samples.rows) <= 1


def test_axes_that_vary_are_tried_at_two_lengths() -> None:
    session = load(models.row_sum())
    lengths = [samples.rows[0]["x"].shape[1] for samples in gather(session, candidate(session.inputs), [])]
    assert len(set(lengths)) == 2


def test_golden_rows_come_before_random_ones() -> None:
    session = load(models.mlp((3, 4, 1)))
    golden = [{"x": np.full((1, 3), value, np.float32)} for value in (0.25, 0.5)]
    (samples,) = gather(session, candidate(session.inputs), golden)
    assert {float(row["x"][0, 0]) for row in samples.rows} == {0.25, 0.5}


def test_golden_rows_of_other_shapes_do_not_mix() -> None:
    session = load(models.row_sum())
    golden = [{"x": np.zeros((1, length), np.float32)} for length in (5, 7, 5)]
    (samples,) = gather(session, candidate(session.inputs), golden)
    assert {row["x"].shape for row in samples.rows} == {(1, 5)}


def test_a_model_that_refuses_every_guess_gets_no_samples() -> None:
    session = load(models.embedding(0))
    assert list(gather(session, candidate(session.inputs), [])) == []


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (np.float32([1, 2]), np.float32([1, 2 + 1e-5]), True),
        (np.float32([1, 2]), np.float32([1, 2.01]), False),
        (np.float32([np.nan, 1]), np.float32([np.nan, 1]), True),
        (np.float32([np.nan, 1]), np.float32([1, 1]), False),
        (np.float32([np.inf]), np.float32([-np.inf]), False),
        (np.float32([np.nan]), np.float32([np.nan]), True),
        (np.float32([]), np.float32([]), True),
        (np.float16([1]), np.float16([1.01]), True),
        (np.int64([1]), np.int64([2]), False),
        (np.array(["a"], object), np.array(["a"], object), True),
        (np.float32([1]), np.float32([[1]]), False),
    ],
)
def test_same(one: np.ndarray, other: np.ndarray, equal: bool) -> None:
    assert same(one, other) is equal
