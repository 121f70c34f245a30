"""A dead letter that the topic does not take either: what it leaves out is named, with its size and SHA-256, never cut silently.

    prediction too large -> dead letter `too_large` -> too large itself: without value -> still: without key and foreign headers

The reason, the position and every other header of ours stay, so that the record can be found where it came from.
"""

import hashlib

from penstock_transformer.broker.records import Headers, OutRecord

MOST = 2
"""How often a dead letter can be made smaller."""

_OURS = "penstock-"
_ID_BYTES = 256
_HEADER_BYTES = 1024


def barer(letter: OutRecord, level: int) -> OutRecord:
    """The dead letter with less in it: `level` 1 leaves out the value, 2 the key and the foreign headers too."""
    headers = letter.headers
    value = letter.value
    if value is not None:
        headers += _omission("value", value)
    if level < MOST:
        return OutRecord(letter.topic, letter.key, None, headers, letter.partition, letter.timestamp_ms)
    kept = tuple((name, text) for name, text in headers if _kept(name, text))
    if len(kept) < len(headers):
        foreign = b"".join(name.encode() + b"\0" + text + b"\0" for name, text in headers if not _kept(name, text))
        kept += _omission("headers", foreign)
    if letter.key is not None:
        kept += _omission("key", letter.key)
    return OutRecord(letter.topic, None, None, kept, letter.partition, letter.timestamp_ms)


def _kept(name: str, text: bytes) -> bool:
    if name.startswith(_OURS):
        return len(text) <= _HEADER_BYTES
    return name == "ce_id" and len(text) <= _ID_BYTES


def _omission(what: str, content: bytes) -> Headers:
    digest = hashlib.sha256(content).hexdigest()
    return (
        (f"penstock-omitted-{what}-bytes", str(len(content)).encode()),
        (f"penstock-omitted-{what}-sha256", digest.encode()),
    )
