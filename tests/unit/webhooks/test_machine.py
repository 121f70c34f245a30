"""What follows an attempt: every status, bounded attempts, waits that grow to a bound."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_transformer.predictions.webhook_machine import Answer, Failure, backoff_s, next_step
from penstock_transformer.predictions.webhook_port import Webhook
from penstock_transformer.predictions.webhook_settings import WebhookSettings

SETTINGS = WebhookSettings()


def webhook(attempts: int) -> Webhook:
    return Webhook("msg_1", "1", "https://example.com/", "example.com", b"{}", attempts, "lease")


@given(st.integers(100, 599), st.integers(1, 1000), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1e12)))
def test_every_answer_has_one_next_step(status: int, attempts: int, chance: float, retry_after_s: float | None) -> None:
    settled = next_step(webhook(attempts), Answer(status, retry_after_s), SETTINGS, lambda: chance)
    if 200 <= status < 300:
        assert settled.outcome == "delivered"
    elif status == 410:
        assert settled.outcome == "gone"
    elif attempts >= SETTINGS.webhook_attempts:
        assert settled.outcome == "abandoned"
    else:
        assert settled.outcome == "failed"
    assert (settled.again_s is not None) == (settled.outcome == "failed")
    if settled.again_s is not None:
        assert SETTINGS.webhook_first_retry_s <= settled.again_s <= SETTINGS.webhook_most_retry_s * 1.2


def test_waits_grow_to_a_bound_and_last_a_day_and_a_half() -> None:
    waits = [backoff_s(attempts, SETTINGS) for attempts in range(1, SETTINGS.webhook_attempts)]
    assert waits[:3] == [5.0, 20.0, 80.0]
    assert waits == sorted(waits)
    assert 24 * 3600 < sum(waits) < 48 * 3600
    assert backoff_s(10_000, SETTINGS) == SETTINGS.webhook_most_retry_s


def test_a_failure_tells_its_reason() -> None:
    assert next_step(webhook(1), Failure("ConnectError"), SETTINGS, lambda: 0.0).reason == "ConnectError"
