"""API keys: a file with the hash of each, its name, what it may do, and until when.

    penstock_<id>_<secret>            the caller has this, and nobody else
    <id> sha256:<hash> name=batch scopes=predict:flights,read:* expires=2027-01-31T00:00:00Z        the file has this

A key is found by its id and checked by its hash in constant time. The secret is 256 random bits, so one SHA-256 is enough: a slow
hash (scrypt, argon2) protects passwords that people choose from being guessed, and there is no guessing here. It would only make
every request slow, and let anybody keep the server busy with wrong keys.

Invariant: a file with a line that cannot be read is refused whole, with the line's number, and the keys of before stay; the
text of a line is never shown, since somebody may have put a key there.
"""

import base64
import hashlib
import hmac
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from penstock.errors import InvalidInput, Unauthenticated
from penstock.serving.security.scopes import Caller, Scope, read_scope
from penstock.serving.security.watching import Watch

logger = logging.getLogger(__name__)

PREFIX = b"penstock_"
_SECRET_BYTES = 32
_KEY = re.compile(rb"penstock_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_ID = re.compile(r"[0-9a-f]{16}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
_REFUSED = "the API key is not known, or no longer"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One line of the file. `expires` is in seconds of the epoch, None for never."""

    id: str
    digest: bytes
    caller: Caller
    expires: float | None

    def line(self) -> str:
        scopes = ",".join(sorted(str(scope) for scope in self.caller.scopes))
        until = "" if self.expires is None else f" expires={datetime.fromtimestamp(self.expires, UTC):%Y-%m-%dT%H:%M:%SZ}"
        return f"{self.id} sha256:{self.digest.hex()} name={self.caller.name.removeprefix('key ')} scopes={scopes}{until}"


def new_key(name: str, scopes: frozenset[Scope], expires: float | None = None) -> tuple[str, ApiKey]:
    """A key that nobody has seen yet, and its entry. Raises InvalidInput for a name that is not one."""
    if _NAME.fullmatch(name) is None:
        raise InvalidInput("expected letters, digits and . _ @ -, at most 100", field="name")
    if not scopes:
        raise InvalidInput("expected at least one", field="scope")
    identity = os.urandom(8).hex()
    secret = base64.urlsafe_b64encode(os.urandom(_SECRET_BYTES)).rstrip(b"=").decode()
    text = f"{PREFIX.decode()}{identity}_{secret}"
    return text, ApiKey(identity, hashlib.sha256(text.encode()).digest(), Caller(f"key {name}", scopes), expires)


class ApiKeys:
    """The keys of a file, which is followed. Raises InvalidInput if it cannot be read at the start."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._watch = Watch([path])
        self._keys = read_keys(path)

    def __len__(self) -> int:
        return len(self._keys)

    def check(self, given: bytes) -> Caller:
        """The caller of a key. Raises Unauthenticated, in the same words whatever is wrong with it."""
        if self._watch.changed():
            self._reload()
        match = _KEY.fullmatch(given)
        key = self._keys.get(match[1].decode()) if match is not None else None
        if key is None or not hmac.compare_digest(key.digest, hashlib.sha256(given).digest()):
            raise Unauthenticated(_REFUSED, field="Authorization")
        if key.expires is not None and key.expires <= self._clock():
            raise Unauthenticated(_REFUSED, field="Authorization")
        return key.caller

    def _reload(self) -> None:
        try:
            self._keys = read_keys(self._path)
        except InvalidInput as error:
            logger.error("new API keys refused", extra={"reason": error.message})
        else:
            logger.info("new API keys in use", extra={"keys": len(self._keys)})


def read_keys(path: Path) -> dict[str, ApiKey]:
    """The keys of a file by their ids. Raises InvalidInput with the number of the line at fault."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}", field="api_keys") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not UTF-8 text", field="api_keys") from None
    keys: dict[str, ApiKey] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            key = _read_line(line.split())
            if key.id in keys:
                raise ValueError("its id is in the file twice")
        except ValueError as error:
            raise InvalidInput(f"{path}, line {number}: {error}", field="api_keys") from None
        keys[key.id] = key
    return keys


def _read_line(words: list[str]) -> ApiKey:
    """Raises ValueError; its text never repeats what the line says, but for scopes."""
    if len(words) < 2 or _ID.fullmatch(words[0]) is None or (digest := _HASH.fullmatch(words[1])) is None:
        raise ValueError("expected ID sha256:HASH name=NAME scopes=SCOPE,… [expires=TIME]")
    fields = dict(word.partition("=")[::2] for word in words[2:])
    if not {"name", "scopes"} <= fields.keys() <= {"name", "scopes", "expires"} or len(fields) != len(words) - 2:
        raise ValueError("expected name=, scopes= and perhaps expires=, each once, behind the hash")
    if _NAME.fullmatch(fields["name"]) is None:
        raise ValueError("name: expected letters, digits and . _ @ -, at most 100")
    scopes = frozenset(read_scope(text) for text in fields["scopes"].split(","))
    expires = read_time(fields["expires"]) if "expires" in fields else None
    return ApiKey(words[0], bytes.fromhex(digest[1]), Caller(f"key {fields['name']}", scopes), expires)


def read_time(text: str) -> float:
    """Seconds of the epoch of an RFC 3339 time; a date is its first moment in UTC. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expires: expected a time such as 2027-01-31 or 2027-01-31T12:00:00Z") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
