"""What a large body is called in the object store, and which references are ours: pure text, nothing is read here.

    (id, kind, body) -> ObjectName -> key -> reference = base + "/" + key
                             ^------------------ read_reference (refuses whatever was not written so)

A name says whose body it is, when it was written, how long it is and its digest: what a reader checks a body against, and what
makes a reference that nobody can guess. Invariant: a key is `kind/id/text` of letters, digits, `-` and `_`, so that no id that a
producer makes up, and no reference that a record brings, leads out of the store's own prefix.
"""

import hashlib
import re
from enum import StrEnum
from typing import NamedTuple

from penstock.errors import InvalidInput

HEADER = "penstock-reference"
_PLAIN = re.compile(rb"[A-Za-z0-9-]")
_LONGEST_ID = 180
_KEY = re.compile(
    rf"(?P<kind>input|result)/(?P<id>__[0-9a-f]{{64}}|[A-Za-z0-9_-]{{1,{_LONGEST_ID}}})"
    r"/(?P<ms>[0-9]{13})-(?P<nbytes>0|[1-9][0-9]{0,14})-(?P<sha256>[0-9a-f]{64})",
    re.ASCII,
)
_ESCAPE = re.compile(r"_([0-9a-f]{2})|([A-Za-z0-9-])")


class Kind(StrEnum):
    """What a body is to its prediction."""

    INPUT = "input"
    RESULT = "result"


class ObjectName(NamedTuple):
    """A body's name. `id` is the prediction's as it stands in the key (`id_text`), `written_ms` since the Unix epoch by the
    writer's clock, `sha256` in hexadecimal."""

    kind: Kind
    id: str
    written_ms: int
    nbytes: int
    sha256: str

    @property
    def key(self) -> str:
        """Its place below the store's prefix."""
        return f"{self.kind.value}/{self.id}/{self.written_ms:013d}-{self.nbytes}-{self.sha256}"

    @property
    def prediction_id(self) -> str | None:
        """The prediction's id, None where it is kept as a digest only (longer than any of ours)."""
        return _id_of(self.id)

    def matches(self, body: bytes) -> bool:
        """Whether this is the body that was named so."""
        return len(body) == self.nbytes and hashlib.sha256(body).hexdigest() == self.sha256


def name_of(prediction_id: str, kind: Kind, body: bytes, written_ms: int) -> ObjectName:
    """The name of a body."""
    return ObjectName(kind, id_text(prediction_id), written_ms, len(body), hashlib.sha256(body).hexdigest())


def id_text(prediction_id: str) -> str:
    """An id as part of a key: bytes beyond letters, digits and `-` as `_hh`; a long or empty one as `__` and its SHA-256."""
    data = prediction_id.encode("utf-8", "surrogatepass")
    text = "".join(chr(byte) if _PLAIN.match(bytes((byte,))) else f"_{byte:02x}" for byte in data)
    return text if 0 < len(text) <= _LONGEST_ID else f"__{hashlib.sha256(data).hexdigest()}"


def _id_of(text: str) -> str | None:
    if text.startswith("__"):
        return None
    parts = [bytes.fromhex(escaped) if escaped else plain.encode() for escaped, plain in _ESCAPE.findall(text)]
    return b"".join(parts).decode("utf-8", "surrogatepass")


def read_key(key: str) -> ObjectName | None:
    """The name that a key is, None for one that is none of ours."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    return ObjectName(Kind(found["kind"]), found["id"], int(found["ms"]), int(found["nbytes"]), found["sha256"])


def stated_bytes(reference: str) -> int:
    """How long a body is by its reference, 0 for a text that is none: nothing is believed of it but for show."""
    name = read_key("/".join(reference.split("/")[-3:]))
    return 0 if name is None else name.nbytes


def read_reference(base: str, reference: str) -> ObjectName:
    """The name behind a reference of the store at `base`. Raises InvalidInput for one that this store did not write: whoever can
    write a record must not be able to have any other object or file read for him."""
    name = read_key(reference.removeprefix(f"{base}/")) if reference.startswith(f"{base}/") else None
    if name is None:
        raise InvalidInput("expected a reference that Penstock's own object store has given", field=HEADER)
    return name
