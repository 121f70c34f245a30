"""An intent as a record of `<model>.requests`, and the marker that goes with each batch.

The record is a CloudEvent in binary mode (CloudEvents, Kafka protocol binding 1.0.2, section 3.2): its value is the body as it
was submitted, or nothing where the body lies in the object store (claim check). Its timestamp is when it was submitted, so that
a time-out counts from there, and not from when the relay came to it.
"""

from penstock_transformer.broker.records import Headers, OutRecord
from penstock_transformer.broker.topics import MARKERS, requests_topic
from penstock_transformer.relay.port import Intent
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.headers import moment_of


def request_of(intent: Intent) -> OutRecord:
    """The record to `<model>.requests`; the key decides on its partition."""
    payload = intent.payload
    headers: Headers = (
        (names.SPECVERSION, b"1.0"),
        (names.ID, intent.id.encode()),
        (names.SOURCE, f"/models/{intent.model}/predictions".encode()),
        (names.TYPE, names.REQUESTED.encode()),
        (names.TIME, moment_of(intent.created_s)),
        *payload.headers,
        *intent.headers,
    )
    if payload.reference is not None:
        headers = (*headers, (names.REFERENCE, payload.reference.encode()))
    body = b"" if payload.body is None else payload.body
    return OutRecord(requests_topic(intent.model), intent.key, body, headers, timestamp_ms=int(intent.created_s * 1000))


def marker_of(slot: str, number: int) -> OutRecord:
    """The record that says: this batch of the slot was sent. The number is in decimal."""
    return OutRecord(MARKERS, slot.encode(), b"%d" % number)


def number_of(value: bytes | None) -> int:
    """The number that a marker says; 0 for what is none of ours."""
    return int(value) if value and value.isdigit() else 0
