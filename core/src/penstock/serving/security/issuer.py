"""An OpenID Connect issuer: where its signing keys are (discovery), and the keys themselves, kept and fetched again.

    key(kid) --known--------------------------------------------> key
             --unknown, not fetched within RETRY_S--> fetch ----> key | None          (Fetching: come back when it is done)
             --unknown, fetched a moment ago--------------------> None

Fetching is a thread's work, one at a time; nobody waits for it but tokens whose key is not here. Keys older than REFRESH_S are
fetched again behind the back of the requests that use them.

Invariants: however many tokens name keys that do not exist, the issuer is asked at most once in RETRY_S. Keys that could not be
confirmed for STALE_S are not believed any more. Only public keys of asymmetric algorithms are kept.
"""

import asyncio
import ipaddress
import logging
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock.serving.security.extras import needs_extra

if TYPE_CHECKING:
    from jwt import PyJWK

logger = logging.getLogger(__name__)

RETRY_S = 10.0
REFRESH_S = 600.0
STALE_S = 24 * 3600.0
FETCH_S = 5.0
_MOST_BYTES = 1024 * 1024
_MOST_KEYS = 100
_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
ALGORITHMS = tuple(name for names in _ALGORITHMS.values() for name in names)

Fetch = Callable[[str], bytes]


class Fetching(Exception):
    """The key is being fetched; `done` ends when that has ended, well or not."""

    def __init__(self, done: "asyncio.Future[None]") -> None:
        super().__init__("the issuer's keys are being fetched")
        self.done = done


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's keys as they were at `fetched` (seconds of `time.monotonic()`)."""

    keys: "dict[str, PyJWK]"
    fetched: float


class Issuer:
    """`url` is the issuer's name, exactly as its tokens say it. `fetch` is replaced in tests."""

    def __init__(self, url: str, *, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        check_address(url, "oidc_issuer")
        self.url = url
        self._fetch = fetch or web_fetch(None)
        self._clock = clock
        self._set: KeySet | None = None
        self._tried = float("-inf")
        self._fetching: asyncio.Future[None] | None = None
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever other keys are believed than before."""
        self._listeners.append(listener)

    def key(self, kid: str) -> "PyJWK | None":
        """The key of that id; None if the issuer has no such key. On the event loop's thread.

        Raises Fetching while that has to be asked, UpstreamUnavailable if the issuer has given no keys that are still believed.
        """
        now = self._clock()
        found = self._set
        if found is not None and now - found.fetched > STALE_S:
            found = None
        key = found.keys.get(kid) if found is not None else None
        if found is None or key is None or now - found.fetched > REFRESH_S:
            self._begin(now)
            if key is None and self._fetching is not None:
                raise Fetching(self._fetching)
        if found is None:
            raise UpstreamUnavailable("the issuer of tokens cannot be reached")
        return key

    def prepare(self) -> None:
        """Begin to fetch the keys, if they have never been fetched. On the event loop's thread."""
        if self._set is None:
            self._begin(self._clock())

    def _begin(self, now: float) -> None:
        """Start to fetch, unless that is under way or was just done."""
        if self._fetching is not None or now - self._tried < RETRY_S:
            return
        self._tried = now
        self._fetching = asyncio.ensure_future(self._refresh())

    async def _refresh(self) -> None:
        try:
            keys = await asyncio.to_thread(self._read)
        except Exception as error:  # whatever the issuer answers, its keys of before stay
            logger.warning("issuer's keys not fetched", extra={"issuer": self.url, "reason": _reason(error)})
        else:
            changed = self._set is None or self._set.keys.keys() != keys.keys()
            self._set = KeySet(keys, self._clock())
            if changed:
                logger.info("issuer's keys fetched", extra={"issuer": self.url, "keys": len(keys)})
            for listener in self._listeners:
                listener()
        finally:
            self._fetching = None

    def _read(self) -> "dict[str, PyJWK]":
        """In a thread. Raises whatever an answer that is none leads to."""
        document = _object(self._fetch(self.url.rstrip("/") + "/.well-known/openid-configuration"))
        if document.get("issuer") != self.url:
            raise UpstreamUnavailable("its discovery document names another issuer")
        where = document.get("jwks_uri")
        if not isinstance(where, str):
            raise UpstreamUnavailable("its discovery document has no jwks_uri")
        check_address(where, "jwks_uri")
        return usable_keys(_object(self._fetch(where)).get("keys"))


def usable_keys(entries: Any) -> "dict[str, PyJWK]":
    """The keys of a JWK set that can check signatures, by id. Others (symmetric, for encryption, unknown, weak) are left out."""
    with needs_extra("--oidc_issuer"):
        from jwt import PyJWK
        from jwt.exceptions import PyJWTError
    keys: dict[str, PyJWK] = {}
    for entry in entries[:_MOST_KEYS] if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
            continue
        algorithms = _ALGORITHMS.get(str(entry.get("kty")), ())
        if entry.get("alg", algorithms[0] if algorithms else None) not in algorithms:
            continue
        public = {name: value for name, value in entry.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth", "k")}
        try:
            key = PyJWK(public)
        except (PyJWTError, ValueError, TypeError):
            continue
        if key.algorithm_name in algorithms and getattr(key.key, "key_size", 2048) >= (2048 if algorithms[0] == "RS256" else 0):
            keys[entry["kid"]] = key
    return keys


def check_address(url: str, field: str) -> None:
    """Raises InvalidInput unless it is https, or http to this machine itself: what comes from there decides who is let in."""
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname or "")))
    except ValueError:
        good = False
    if not good:
        raise InvalidInput(f"expected an https:// address, got {url[:200]!r}", field=field)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def web_fetch(context: ssl.SSLContext | None) -> Fetch:
    """Fetches by HTTP: no redirects, a time limit, a size limit. Raises OSError, UpstreamUnavailable."""
    handlers: list[Any] = [_NoRedirect()]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)

    def fetch(url: str) -> bytes:
        request = urllib.request.Request(url, headers={"accept": "application/json", "user-agent": "penstock"})
        with opener.open(request, timeout=FETCH_S) as answer:
            body: bytes = answer.read(_MOST_BYTES + 1)
        if len(body) > _MOST_BYTES:
            raise UpstreamUnavailable(f"its answer is over {_MOST_BYTES} bytes")
        return body

    return fetch


def _object(body: bytes) -> dict[str, Any]:
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise UpstreamUnavailable("its answer is not a JSON object")
    return document


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)[:300]
