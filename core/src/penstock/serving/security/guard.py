"""The guard: one answer to "who is this, and may they?" for every way in.

    HTTP hot routes --\\
    FastAPI, WebSocket -+--> headers --Authorization--> API key | token --> Caller --scope?--> rate? --> Caller
    gRPC, admin -------/                                 \\-> Unauthenticated       \\-> Forbidden \\-> Overloaded

`admit` is a plain call that decides at once. Only a token whose key has to be fetched first cannot be decided so: `admit` then
raises `Undecided`, which `admitted` waits out.

Invariant: nothing of a credential is ever in an error, a log or a metric. Who was let in to load or unload is logged.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Mapping, Sequence

from penstock.errors import Forbidden, NotReady, PenstockError, Unauthenticated
from penstock.serving.security.issuer import FETCH_S, Fetching
from penstock.serving.security.keys import PREFIX, ApiKeys
from penstock.serving.security.needs import Need, is_open, model_in, need_of, need_of_hot
from penstock.serving.security.rates import Rates
from penstock.serving.security.scopes import ADMIN, DESCRIBE, EVERYTHING, Caller, wanted
from penstock.serving.security.tokens import Tokens

logger = logging.getLogger(__name__)

_KNOWN_PATHS = 2048
_KNOWN_PATH_BYTES = 1024


class Undecided(NotReady):
    """A token's key is being fetched. As an error it means: try again. `done` ends when the fetch has."""

    def __init__(self, done: "asyncio.Future[None]") -> None:
        super().__init__("the keys of the tokens' issuer are being fetched")
        self.done = done


class Guard:
    """`keys` and `tokens` say who callers are; without both, a caller is its address and may do everything.

    `models` names the models served here: where there is one, a path without a model means that one.
    """

    def __init__(
        self,
        *,
        keys: ApiKeys | None = None,
        tokens: Tokens | None = None,
        rates: Rates | None = None,
        models: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.keys = keys
        self.tokens = tokens
        self.rates = rates
        self.models = models
        self._needs: dict[bytes, Need] = {}

    @property
    def asks_who(self) -> bool:
        """Whether callers need credentials at all."""
        return self.keys is not None or self.tokens is not None

    def admit(self, headers: Mapping[bytes, bytes], *, model: str | None, verb: str, peer: str) -> Caller:
        """The caller, who may do `verb` (see `scopes`) on `model` now; counted against its rate. `model` None means the only one
        that is served here, or all of them where there are several.

        `headers` by lower-case name, `peer` the other side's address. Raises Unauthenticated, Forbidden, Overloaded, Undecided,
        UpstreamUnavailable (the tokens' issuer cannot be reached).
        """
        return self._admit_need(Need(verb, model), b"", headers, peer)

    async def admitted(self, headers: Mapping[bytes, bytes], *, model: str | None, verb: str, peer: str) -> Caller:
        """`admit`, waiting for keys where it has to. Raises the same, but Undecided only if they take too long."""
        try:
            return self.admit(headers, model=model, verb=verb, peer=peer)
        except Undecided as undecided:
            await settled(undecided)
        return self.admit(headers, model=model, verb=verb, peer=peer)

    def admit_path(self, method: str, path: str, query: bytes, headers: Mapping[bytes, bytes], peer: str) -> Caller | None:
        """`admit` for what a decoded path needs; None for a path that is open. Raises InvalidInput for two models in a query."""
        if is_open(method, path):
            return None
        return self._admit_need(need_of(method, path), query, headers, peer)

    def admit_hot(self, path: bytes, query: bytes, headers: Mapping[bytes, bytes], peer: str) -> Caller:
        """`admit` for a hot route, by its path as it was sent."""
        return self._admit_need(self._hot_need(path), query, headers, peer)

    def check_hot(self, path: bytes, query: bytes, headers: Mapping[bytes, bytes], peer: str) -> PenstockError | None:
        """Why a hot request will not be admitted, without counting it: asked before a large body is read. None if it may be."""
        try:
            need = self._hot_need(path)
            self.require(self.identify(headers, peer), need.verb, self._model(need, query))
        except Undecided:
            return None
        except PenstockError as error:
            return error
        return None

    def prepare(self) -> None:
        """Begin to fetch what will be needed, so that the first callers need not wait for it. On the event loop's thread."""
        if self.tokens is not None:
            self.tokens.prepare()

    def identify(self, headers: Mapping[bytes, bytes], peer: str) -> Caller:
        """Who a request's credentials say it is of. Raises Unauthenticated, Undecided, UpstreamUnavailable."""
        if not self.asks_who:
            return Caller(f"address {network_of(peer)}", EVERYTHING, anonymous=True)
        kind, _, credential = headers.get(b"authorization", b"").partition(b" ")
        credential = credential.strip()
        if kind.lower() != b"bearer" or not credential:
            raise Unauthenticated("expected Authorization: Bearer with an API key or a token", field="Authorization")
        if self.keys is not None and (self.tokens is None or credential.startswith(PREFIX)):
            return self.keys.check(credential)
        assert self.tokens is not None
        try:
            return self.tokens.check(credential)
        except Fetching as fetching:
            raise Undecided(fetching.done) from None

    def require(self, caller: Caller, verb: str, model: str | None) -> None:
        """Raises Forbidden, naming the scope, unless the caller may do this."""
        if not caller.may(verb, model):
            scope = wanted(verb, model)
            other = " or another of this model" if verb == DESCRIBE else ""
            raise Forbidden(f"expected a caller with scope {scope}{other}", scope=scope)

    def _admit_need(self, need: Need, query: bytes, headers: Mapping[bytes, bytes], peer: str) -> Caller:
        caller = self.identify(headers, peer)
        model = self._model(need, query)
        self.require(caller, need.verb, model)
        if self.rates is not None:
            self.rates.count(caller.name)
        if need.verb == ADMIN:
            logger.info("admin call admitted", extra={"caller": caller.name, "peer": peer, "model": model})
        return caller

    def _model(self, need: Need, query: bytes) -> str | None:
        if need.model is not None:
            return need.model
        named = model_in(query) if need.in_query and query else None
        if named is not None:
            return named
        models = self.models()
        return models[0] if len(models) == 1 and need.verb != ADMIN else None

    def _hot_need(self, path: bytes) -> Need:
        need = self._needs.get(path)
        if need is None:
            need = need_of_hot(path)
            if len(path) <= _KNOWN_PATH_BYTES:
                if len(self._needs) >= _KNOWN_PATHS:
                    self._needs.clear()
                self._needs[path] = need
        return need


async def settled(undecided: Undecided) -> None:
    """Wait until what a decision waits for is there, or has failed, or takes too long. Cancelling harms nobody else."""
    await asyncio.wait([undecided.done], timeout=2 * FETCH_S)


def network_of(peer: str) -> str:
    """The address whose requests count together: an IPv4 address, or an IPv6 /64, of which one caller has as many as it likes."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
