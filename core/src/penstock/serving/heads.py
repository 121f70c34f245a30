"""Request heads that were parsed before: the same bytes mean the same, so they are not parsed again.

    data --> begins a message, and its head is known? --+-- yes --> FastExchange --> handler
                                                        +-- no ---> parser --> (plain, hot, whole) --> remembered

A client sends the same head with every request, but for the length of its body; parsing it costs a third of a small request. A
head is remembered only once the parser has taken it, for a hot route in its plain form, in one piece with its whole body.

Invariant: what is remembered is bounded (`HEADS_KEPT` of at most `HEAD_BYTES`), and heads that differ by nature are not kept:
those with an id or a trace of their own, and those without a body, whose paths name records.
"""

import time
from typing import TYPE_CHECKING, Any, cast

from penstock.serving.early import Asked
from penstock.serving.fast_exchange import FastExchange, run_handler
from penstock.serving.routes import Found
from penstock.serving.shell import SMALL_BODY_BYTES

if TYPE_CHECKING:
    from penstock.serving.fast import FastProtocol

HEADS_KEPT = 1024
HEAD_BYTES = 1024
_END = b"\r\n\r\n"
_UNIQUE = frozenset({b"x-request-id", b"traceparent", b"idempotency-key", b"connection"})


class Head:
    """What the parser made of a head. `headers` is shared by every request that has it: read-only."""

    __slots__ = ("asked", "found", "headers", "length", "path", "query")

    def __init__(self, exchange: FastExchange, asked: Asked | None) -> None:
        self.asked = asked
        self.found: Found | None = exchange.found
        self.path = exchange.path
        self.query = exchange.query
        self.headers = exchange.headers
        self.length = exchange.length


class KnownHeads:
    """One server's remembered heads, for all its connections."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def recall(self, protocol: "FastProtocol", data: bytes) -> bool:
        """Take `data` as a whole request if its head is known; False if it has to be parsed. Only between two messages."""
        end = data.find(_END, 0, HEAD_BYTES) + 4
        head = self._heads.get(data[:end])
        if head is None or len(data) - end != head.length:
            return False
        early = protocol.shell.early
        if early.pressure.batchers and head.asked is not None and early.refuse(protocol, head.asked, head.path, head.length):
            return True
        exchange = FastExchange(protocol, head.found, head.path, head.query, head.headers, head.length, time.monotonic())
        exchange.body = data[end:]
        exchange.received = head.length
        exchange.more_body = False
        protocol.cycle = cast(Any, exchange)
        protocol.active = exchange
        run_handler(exchange)
        return True

    def remember(self, exchange: FastExchange, data: bytes) -> None:
        """Keep the head of `data` if that was one whole request, and this is its exchange."""
        end = data.find(_END, 0, HEAD_BYTES) + 4
        if (
            end < 4
            or len(data) - end != exchange.length
            or not 0 < exchange.length <= SMALL_BODY_BYTES
            or exchange.refused is not None
            or not exchange.headers.keys().isdisjoint(_UNIQUE)
        ):
            return
        if len(self._heads) >= HEADS_KEPT:
            self._heads.clear()
        shell = exchange.protocol.shell
        found = exchange.found
        refusable = found is not None and found[0] in shell.routes.early
        self._heads[data[:end]] = Head(exchange, shell.early.asked(found, exchange.headers) if refusable and found else None)
