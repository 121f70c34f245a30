"""The cost profile, and the policy that is made of it."""

from pathlib import Path

import pytest

from penstock.dataplane import TensorMetadata
from penstock.onnx import load
from penstock.testing import models
from penstock_predictor import profile
from penstock_predictor.axes import BatchRule, Sharing, candidate
from penstock_predictor.loading import make_policy
from penstock_predictor.profile import Cost, CostProfile, measure, sizes
from penstock_predictor.samples import gather
from penstock_predictor.settings import ModelSettings

FREE = BatchRule(Sharing.FREE, "")
ALONE = BatchRule(Sharing.ALONE, "")
FIXED = BatchRule(Sharing.FIXED, "", 8)
X = [TensorMetadata("x", "FP32", (-1, 3))]


def costs(**ms_by_rows: float) -> CostProfile:
    return CostProfile(tuple(Cost(int(rows[1:]), ms, 0) for rows, ms in ms_by_rows.items()))


CHEAP = costs(r1=0.01, r8=0.012, r64=0.02, r256=0.06)
DEAR = costs(r1=2.0, r8=3.0, r64=20.0, r256=79.0)


def test_best_rows_is_the_smallest_that_does_nearly_best() -> None:
    assert DEAR.best_rows() == 64
    assert CHEAP.best_rows() == 256
    assert CostProfile().best_rows() == 1


def test_rows_within_stops_at_the_first_that_is_too_dear() -> None:
    assert CHEAP.rows_within(0.3) == 256
    assert CHEAP.rows_within(0.02) == 8
    assert DEAR.rows_within(0.3) == 0
    assert costs(r1=0.1, r2=0.5, r4=0.2).rows_within(0.3) == 1


def test_cheap_models_run_inline_and_dear_ones_in_the_thread() -> None:
    cheap, dear = (make_policy(FREE, p, X, ModelSettings()) for p in (CHEAP, DEAR))
    assert (cheap.max_rows, cheap.inline_rows) == (256, 256)
    assert (dear.max_rows, dear.inline_rows) == (64, 0)


def test_models_that_run_alone_get_no_company_and_no_wait() -> None:
    policy = make_policy(ALONE, costs(r1=0.01), X, ModelSettings(max_delay_ms=5))
    assert (policy.max_rows, policy.inline_rows, policy.max_delay_ms) == (1, 1, 0.0)


def test_fixed_size_is_the_size_even_above_the_limit() -> None:
    policy = make_policy(FIXED, costs(r8=0.01), X, ModelSettings(max_rows=4))
    assert (policy.max_rows, policy.inline_rows) == (8, 8)


@pytest.mark.parametrize("tensor", [TensorMetadata("x", "FP32", (-1, -1)), TensorMetadata("x", "BYTES", (-1, 1))])
def test_runs_whose_cost_depends_on_the_content_never_hold_up_the_loop(tensor: TensorMetadata) -> None:
    assert make_policy(FREE, CHEAP, [tensor], ModelSettings()).inline_rows == 0


def test_batching_can_be_switched_off() -> None:
    policy = make_policy(FREE, CHEAP, X, ModelSettings(batching=False))
    assert (policy.max_rows, policy.max_delay_ms) == (1, 0.0)


def test_sizes() -> None:
    assert sizes(FREE, 48) == [1, 2, 4, 8, 16, 32, 48]
    assert sizes(ALONE, 48) == [1]
    assert sizes(FIXED, 48) == [8]


def test_every_size_is_measured_and_its_memory_too() -> None:
    session = load(models.mlp())
    (samples,) = gather(session, FREE, [])
    found = measure(session, FREE, samples, 8, 1.0)
    assert [cost.rows for cost in found.costs] == [1, 2, 4, 8]
    assert all(cost.run_ms > 0 and cost.memory_bytes >= cost.rows * 33 * 4 for cost in found.costs)
    assert found.as_json()[0].keys() == {"rows", "ms", "memory_bytes"}


def test_a_spent_budget_ends_the_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    session = load(models.mlp())
    (samples,) = gather(session, FREE, [])
    monkeypatch.setattr(profile, "_cost", lambda session, feeds, rows, budget: Cost(rows, 1000.0, 0))
    assert len(measure(session, FREE, samples, 64, 2.0).costs) == 1


def test_nothing_is_measured_without_samples() -> None:
    session = load(models.mlp())
    assert measure(session, candidate(session.inputs), None, 8, 1.0).costs == ()


def test_a_size_that_fails_ends_the_profile() -> None:
    session = load(models.fixed(4))
    (samples,) = gather(session, BatchRule(Sharing.FIXED, "", 4), [])
    assert measure(session, FREE, samples, 8, 0.1).costs == ()


def test_a_machine_without_proc_has_no_peaks(tmp_path: Path) -> None:
    assert profile._peak_reset(tmp_path / "none") == 0
    assert profile.peak_bytes(tmp_path / "none") == 0
