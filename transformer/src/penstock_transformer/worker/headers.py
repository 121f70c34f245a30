"""The headers of records, by name: CloudEvents' Kafka binding in binary mode, and what HTTP requests carry under the same names.

    request  --by_name--> {name: value} --reading--> Context
    answer, dead letter <--writing, dead_letters-- names, times

Names are compared without regard to case, as foreign producers write them either way; of a header that is given twice the last
counts, as CloudEvents' readers take it. Values stay bytes: a record may hold any.

Source: CloudEvents, Kafka protocol binding 1.0.2, section 3.2.
"""

from datetime import UTC, datetime

from penstock_transformer.broker.records import Headers, Record

SPECVERSION, ID, SOURCE, TYPE, TIME = "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"
CONTENT_TYPE = "content-type"
CONTENT_ENCODING = "content-encoding"
HEADER_LENGTH = "inference-header-content-length"
TRACEPARENT = "traceparent"
TIMEOUT_MS = "penstock-timeout-ms"
PRIORITY = "penstock-priority"
ROUTE_KEY = "penstock-route-key"
EXPECT_BUNDLE = "penstock-expect-bundle"
REFERENCE = "penstock-reference"
BUNDLE = "penstock-bundle"
POSITION = "penstock-position"
REASON, MESSAGE, FIELD = "penstock-reason", "penstock-message", "penstock-field"
ATTEMPTS, FAILED_AT = "penstock-attempts", "penstock-failed-at"
REPLAYED = "penstock-replayed"

REQUESTED = "dev.penstock.prediction.requested.v1"
MADE = "dev.penstock.prediction.made.v1"

# An id that can go into a header line and a log line as it is, and is a key of the database: printable, and not too long.
ID_CHARACTERS = 200


def by_name(headers: Headers) -> dict[str, bytes]:
    """Headers by their names in lower case; the last of a name."""
    found = dict(headers)
    # Nearly everybody writes them in lower case: looked at once for all, not one by one.
    return found if "".join(found).islower() else {name.lower(): value for name, value in headers}


def usable_id(value: bytes | None) -> str | None:
    """An id as text, None for one that is missing, empty, too long, or not printable UTF-8."""
    if not value:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) <= ID_CHARACTERS and text.isprintable() else None


def id_of(record: Record, headers: dict[str, bytes] | None = None) -> str:
    """The id of a request: its `ce_id`, or its position if it brings none that can be used."""
    return usable_id((by_name(record.headers) if headers is None else headers).get(ID)) or record.position


def moment_of(seconds: float) -> bytes:
    """A time of the Unix epoch as RFC 3339 has it, in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
