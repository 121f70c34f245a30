"""An asynchronous prediction: what was asked, how far it is, what came of it.

    starting (queued) --> processing --> succeeded | failed
         |                     |
         +----------+----------+--> canceled

A prediction that has ended never changes again, but for its removal, and for one thing that an operator does: a `failed` one
whose dead letter is replayed takes what comes of that (`changed_by`). Its id is the `ce_id` of its request and of its answer on
Kafka, the `request_id` of every log line about it, and its key in the database.
"""

import os
import time
from enum import StrEnum

import msgspec

from penstock_transformer.broker.records import Headers


class State(StrEnum):
    """How far a prediction is. `starting` is queued; the last three are its ends."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


JSON = b"application/json"
ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED})


def stage(state: State) -> int:
    """0 queued, 1 being processed, 2 ended: a prediction's stage never goes back for whoever watches it."""
    return 2 if state in ENDED else int(state is State.PROCESSING)


class Payload(msgspec.Struct, frozen=True, eq=False):
    """A body with the headers that say how to read it (`content-type`, `inference-header-content-length`), as a Kafka record
    carries them. Exactly one of `body` and `reference` is given: a large body lies in the object store under its reference."""

    body: bytes | None
    headers: Headers
    nbytes: int
    reference: str | None = None

    @property
    def content_type(self) -> bytes:
        """What it is; JSON where nothing is said."""
        return next((value for name, value in self.headers if name.lower() == "content-type"), b"") or JSON

    @property
    def is_json(self) -> bool:
        """Whether a document of JSON can hold it."""
        return self.content_type.partition(b";")[0].strip() == JSON


class NewPrediction(msgspec.Struct, frozen=True, eq=False):
    """One to be made. `owner` is who asks (`Caller.name`; empty where nobody is asked who he is). `digest` is the SHA-256 of all
    that makes the request what it is, to tell a repeated one from another under the same `idempotency_key`. `headers` travel
    with the record: traceparent, penstock-timeout-ms, penstock-priority, penstock-route-key, penstock-expect-bundle.
    `keep_s` None keeps the result for ever."""

    id: str
    model: str
    owner: str
    payload: Payload
    rows: int
    digest: bytes
    key: bytes | None = None
    headers: Headers = ()
    idempotency_key: str | None = None
    webhook: str | None = None
    keep_s: float | None = None
    created_s: float = msgspec.field(default_factory=time.time)


class Ending(msgspec.Struct, frozen=True, eq=False):
    """What came of a prediction: a result (`payload`) or an error (`kind`, `message`, `field`). `replayed`: of a request that an
    operator had put back among the requests after it had failed."""

    id: str
    state: State
    payload: Payload | None = None
    bundle: str = ""
    kind: str | None = None
    message: str | None = None
    field: str | None = None
    ended_s: float = msgspec.field(default_factory=time.time)
    replayed: bool = False


def changed_by(state: State, ending: Ending) -> bool:
    """Whether a prediction in `state` takes this ending.

    The first ending counts, whatever comes twice, late or by a race, so that what a caller has seen stays so. Only a replay,
    which somebody asked for, is more than that; in whichever order its outcome and the first failure come, the outcome stays.
    """
    return state not in ENDED or (state is State.FAILED and ending.replayed)


class Prediction(msgspec.Struct, frozen=True, eq=False):
    """A prediction as it is kept. Times are in s of the Unix epoch. `sequence` orders all of them as they came."""

    id: str
    model: str
    owner: str
    state: State
    sequence: int
    rows: int
    created_s: float
    started_s: float | None = None
    ended_s: float | None = None
    expires_s: float | None = None
    idempotency_key: str | None = None
    webhook: str | None = None
    bundle: str = ""
    kind: str | None = None
    message: str | None = None
    field: str | None = None
    result: Payload | None = None


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): in the order of time to the millisecond, so that new rows lie together in an index."""
    milliseconds = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10))
    value = milliseconds << 80 | 0x7 << 76 | (noise >> 68) << 64 | 0b10 << 62 | noise & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def priority_of(headers: Headers) -> int:
    """What `penstock-priority` says (lower is sooner), 0 where it says nothing that can be read; within 16 bits."""
    for name, value in headers:
        if name == "penstock-priority":
            try:
                return max(-32768, min(32767, int(value)))
            except ValueError:
                return 0
    return 0
