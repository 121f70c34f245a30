"""Signatures, against the example of the Standard Webhooks specification."""

import pytest

from penstock_transformer.predictions.signing import read_secrets, signed_headers
from penstock_transformer.predictions.webhook_settings import WebhookSettings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_specification_s_own_example() -> None:
    headers = signed_headers(read_secrets(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_sign_side_by_side() -> None:
    both = read_secrets(f"{SECRET} whsec_{'A' * 32}")
    signatures = signed_headers(both, "msg_1", 1, b"x")["webhook-signature"].split()
    assert len(signatures) == 2
    assert all(signature.startswith("v1,") for signature in signatures)


@pytest.mark.parametrize("text", ["hunter2", "whsec_QQ==", "whsec_%%%", f"{SECRET} x", f"whsec_{'A' * 100}"])
def test_a_secret_of_another_form_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="webhook_secret: expected whsec_") as refused:
        WebhookSettings(webhook_secret=text).check_webhooks()
    assert text not in str(refused.value)
