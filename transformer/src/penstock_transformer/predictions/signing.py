"""Signatures of webhooks, by the Standard Webhooks specification 1.0 (symmetric, `v1`), so that its libraries verify ours.

webhook-id         the same for every attempt: what a receiver tells a repeated one by
webhook-timestamp  seconds of this attempt: what a receiver refuses an old one by
webhook-signature  v1,base64(HMAC-SHA256(secret, "id.timestamp.body")), one for each secret, with spaces between
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64


def read_secrets(text: str) -> tuple[bytes, ...]:
    """The secrets in a setting's text, none for an empty one. Raises ValueError, which never repeats a secret."""
    return tuple(_secret(part) for part in text.split())


def _secret(text: str) -> bytes:
    try:
        found = base64.b64decode(text.removeprefix(_PREFIX), validate=True) if text.startswith(_PREFIX) else b""
    except binascii.Error:
        found = b""
    if not _LEAST_BYTES <= len(found) <= _MOST_BYTES:
        raise ValueError(f"webhook_secret: expected {_PREFIX} and base64 of {_LEAST_BYTES} to {_MOST_BYTES} bytes")
    return found


def signed_headers(secrets: Sequence[bytes], webhook_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt."""
    content = b"%b.%d.%b" % (webhook_id.encode(), timestamp_s, body)
    signatures = [base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode() for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
