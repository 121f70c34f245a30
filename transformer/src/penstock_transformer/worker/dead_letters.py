"""Dead letters: records that could not be predicted, as they were, and why; and the way back.

    Record --letter--> OutRecord in <model>.dead-letters --read_letter--> Letter --request--> OutRecord in <model>.requests

Ours come behind the record's own headers, as one block that `penstock-reason` begins: whatever a record brought, names of ours
included, what was added is what stands from the last `penstock-reason` on.

Invariant: key, value and headers of the original come back byte for byte, doubled and foreign ones included.
"""

import time
from datetime import datetime

import msgspec

from penstock.errors import PenstockError
from penstock_transformer.broker.records import Headers, OutRecord, Partition, Record
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.headers import by_name, id_of, moment_of, usable_id

CRASHED = "crashed"
MESSAGE_BYTES = 2000
_FIELD_BYTES = 500
_OMITTED = "penstock-omitted-"


class DeadLetters:
    """Writes one model's dead letters to `topic`. `timed`: a record that does not say its time in `ce_time` keeps its timestamp
    over a replay, where what it says is true as of then."""

    def __init__(self, topic: str, *, timed: bool = False) -> None:
        self._topic = topic
        self._timed = timed

    def of(self, record: Record, error: PenstockError, identity: str | None) -> OutRecord:
        """The dead letter of a record with an error of its own."""
        return self.letter(record, str(error.kind), error.message, field=error.field, identity=identity)

    def letter(
        self,
        record: Record,
        reason: str,
        message: str,
        *,
        field: str | None = None,
        attempts: int = 1,
        identity: str | None = None,
    ) -> OutRecord:
        """`reason` is a kind of error, or `crashed`. `identity`: the id that was read of the record, if it was."""
        ours: list[tuple[str, bytes]] = [(names.REASON, reason.encode()), (names.MESSAGE, _cut(message, MESSAGE_BYTES))]
        if field is not None:
            ours.append((names.FIELD, _cut(field, _FIELD_BYTES)))
        ours += [
            (names.POSITION, record.position.encode()),
            (names.ATTEMPTS, b"%d" % attempts),
            (names.FAILED_AT, moment_of(time.time())),
        ]
        given = by_name(record.headers)
        if usable_id(given.get(names.ID)) is None:
            ours.append((names.ID, (identity or id_of(record, given)).encode()))
        if self._timed and names.TIME not in given and record.timestamp_ms >= 0:
            ours.append((names.TIME, moment_of(record.timestamp_ms / 1e3)))
        return OutRecord(self._topic, record.key, record.value, (*record.headers, *ours), record.partition.number)


class Letter(msgspec.Struct, frozen=True, eq=False):
    """A dead letter that was read. `position` is the request's, `at` its own; `failed_s` in s of the Unix epoch, None if unsaid.

    `headers` are the original's; `written_ms` is the letter's own timestamp. `foreign`: nothing in it says why it is here, so
    another program wrote it. `omitted` names what was left out because the topic would not take it (`worker.bare_letters`): then
    the original cannot be had from here.
    """

    id: str
    reason: str
    message: str
    field: str | None
    position: str
    attempts: int
    failed_s: float | None
    at: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    added_id: bool
    written_ms: int
    added_time: bytes | None = None
    foreign: bool = False
    omitted: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it stands: `<topic>/<partition>/<offset>`."""
        return f"{self.at.topic}/{self.at.number}/{self.offset}"

    @property
    def since_s(self) -> float:
        """When the record failed, in s of the Unix epoch; when its letter was written, where that is not said."""
        return self.written_ms / 1e3 if self.failed_s is None else self.failed_s

    def request(self, topic: str) -> OutRecord:
        """The original, for `topic`, to the partition that it came from, with where it has been in `penstock-replayed`.

        One that brought no id keeps the one it was known by; a time that was kept for it goes with it."""
        added: list[tuple[str, bytes]] = [(names.ID, self.id.encode())] if self.added_id else []
        if self.added_time is not None:
            added.append((names.TIME, self.added_time))
        added.append((names.REPLAYED, self.place.encode()))
        return OutRecord(topic, self.key, self.value, (*self.headers, *added), self.at.number)


def read_letter(record: Record) -> Letter:
    """What a record of the dead letters' topic says. Never raises: what does not say why it is here is `foreign`."""
    begin = next((at for at in range(len(record.headers) - 1, -1, -1) if record.headers[at][0] == names.REASON), None)
    original = record.headers if begin is None else record.headers[:begin]
    ours = {} if begin is None else dict(record.headers[begin:])
    field = ours.get(names.FIELD)
    return Letter(
        id=usable_id(ours.get(names.ID)) or id_of(record),
        reason=_text(ours.get(names.REASON, b"unknown")),
        message=_text(ours.get(names.MESSAGE, b"")),
        field=None if field is None else _text(field),
        position=_text(ours.get(names.POSITION, b"")),
        attempts=_number(ours.get(names.ATTEMPTS, b"")),
        failed_s=_seconds(ours.get(names.FAILED_AT, b"")),
        at=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=original,
        added_id=names.ID in ours,
        written_ms=record.timestamp_ms,
        added_time=ours.get(names.TIME),
        foreign=begin is None,
        omitted=tuple(name.removeprefix(_OMITTED).removesuffix("-bytes") for name in ours if _is_omission(name)),
    )


def _is_omission(name: str) -> bool:
    return name.startswith(_OMITTED) and name.endswith("-bytes")


def _cut(text: str, most: int) -> bytes:
    """Text as UTF-8, no longer than `most` bytes and not in the middle of a character; lone surrogates become "?"."""
    encoded = text.encode("utf-8", "replace")
    return encoded if len(encoded) <= most else encoded[:most].decode("utf-8", "ignore").encode()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _number(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) < 10 else 0


def _seconds(value: bytes) -> float | None:
    try:
        return datetime.fromisoformat(value.decode()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
