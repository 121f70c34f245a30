"""Windows end on whole steps, and name their retraining."""

import re

from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.feedback.trigger.window import Window, latest, moment, retraining_id


@given(now=st.floats(1e9, 2e9), every=st.integers(1, 10**6), length=st.integers(1, 10**7), delay=st.integers(0, 10**6))
def test_a_window_is_the_last_whole_one(now: float, every: int, length: int, delay: int) -> None:
    window = latest(now, length_s=length, every_s=every, delay_s=delay)
    assert window.until % every == 0
    assert window.until <= now - delay < window.until + every
    assert window.until - window.since == length


def test_whoever_asks_within_a_step_gets_the_same_window() -> None:
    first, second, next_one = (latest(now, length_s=7200, every_s=600, delay_s=60) for now in (6660.0, 7259.9, 7260.0))
    assert first == second == Window(-600.0, 6600.0)
    assert next_one.until == 7200.0


@given(model=st.text(max_size=80), since=st.floats(0, 2e9), until=st.floats(0, 2e9))
def test_an_id_names_a_kubernetes_object_whatever_the_model_is_called(model: str, since: float, until: float) -> None:
    made = retraining_id(model, "sha256:1", Window(since, until))
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", made)
    assert len(made) <= 58


def test_an_id_tells_models_bundles_and_windows_apart() -> None:
    window = Window(0.0, 3600.0)
    ids = {
        retraining_id("flights", "sha256:1", window),
        retraining_id("flights", "sha256:2", window),
        retraining_id("Flights", "sha256:1", window),
        retraining_id("flights", "sha256:1", Window(1.0, 3600.0)),
    }
    assert len(ids) == 4
    assert retraining_id("flights", "sha256:1", window) == retraining_id("flights", "sha256:1", Window(0.0, 3600.0))
    assert retraining_id("flights", "sha256:1", window).startswith("retrain-flights-19700101t010000z-")
    assert moment(3600.0) == "1970-01-01T01:00:00Z"
