"""What all connections of one server share: routes, limits, counters, the state of the process, and how an answer is recorded.

Invariant: `budget_bytes` is what large request bodies may still take together; whoever reserves from it gives back exactly once.
"""

import logging
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from penstock import tracing
from penstock.errors import ErrorKind, Overloaded, PenstockError, TooLarge
from penstock.lifecycle import Lifecycle, State
from penstock.logs import Sampled
from penstock.metrics import Metrics, ModelMetrics
from penstock.serving.early import EarlyRefusals
from penstock.serving.release_rate import ReleaseRate
from penstock.serving.routes import HotRoutes
from penstock.serving.status import HTTP_STATUS

if TYPE_CHECKING:
    from penstock.serving.security.guard import Guard

logger = logging.getLogger(__name__)

_INDEXED = re.compile(r"[\w-]+(\[\d+\])*")
# Bodies up to this size are not counted against the budget: connections bound their sum well enough.
SMALL_BODY_BYTES = 64 * 1024
# Of that budget one model's requests may hold so much where there are others: a slow one must not keep out theirs.
MODEL_SHARE = 0.75


# The names of fields that are ours, or the protocols'. All others are what a caller wrote into its request.
_OWN_WORDS = frozenset(
    {
        "Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "Inference-Header-Content-Length", "Origin",
        "Penstock-Expect-Bundle", "Penstock-Priority", "Penstock-Route-Key", "Penstock-Timeout-Ms", "body", "cursor", "data",
        "datatype", "event_time", "id", "inputs", "instances", "message", "model", "model_name", "name", "options", "outputs",
        "parameters", "prediction_id", "record_id", "rows", "scores", "shape", "values", "version", "webhook",
    }
)  # fmt: skip


def own_words(field: str | None) -> str | None:
    """A field's path for the log, with what the caller made up left out: `rows[3].…` of `rows[3].my name`."""
    if field is None:
        return None
    parts = [part if part.partition("[")[0] in _OWN_WORDS else "…" for part in field[:200].split(".")]
    return ".".join(part if part == "…" or _INDEXED.fullmatch(part) else part.partition("[")[0] + "[…]" for part in parts)


@dataclass(frozen=True, slots=True)
class ShellLimits:
    """Limits of the HTTP shell; times are in seconds, kept by a sweep that runs once a second."""

    body_bytes: int = 64 * 1024 * 1024
    """Bytes of one request's body; more is refused with 413 before it is read."""
    bodies_bytes: int = 1024 * 1024 * 1024
    """Bytes of all large bodies held at once; beyond it requests are refused with 429."""
    head_bytes: int = 32 * 1024
    """Bytes of one request's head (within a read's 16 KiB); more is refused with 431."""
    head_timeout_s: int = 10
    """From a request's first byte to the end of its head; then 408."""
    stall_timeout_s: int = 30
    """Without a byte of a body that has begun, or without room for a byte of an answer; then 408, or the connection is cut."""
    body_timeout_s: int = 600
    """From a request's first byte to its last; then 408."""
    connections: int = 10_000
    """Open connections; one more is turned away with 503."""
    keep_alive_s: int = 75
    """Idle time of a connection; longer than common load balancers' own, so that the side that sends is the side that closes."""


class Reservation:
    """What a body that comes without a length told in advance takes of the shell's budget, as it grows."""

    __slots__ = ("_bytes", "_shell")

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell
        self._bytes = 0

    def grow(self, total: int) -> None:
        """The body has `total` bytes now. Raises Overloaded if the budget does not hold them."""
        more = total - self._bytes
        if total <= SMALL_BODY_BYTES:
            return
        if more > self._shell.budget_bytes:
            raise self._shell.too_many_large(more)
        self._shell.budget_bytes -= more
        self._bytes = total

    def release(self) -> None:
        """Give everything back. Safe to call twice."""
        self._shell.budget_bytes += self._bytes
        self._shell.released.total += self._bytes
        self._bytes = 0


class Shell:
    """One server's shared state. `draining` makes every answer close its connection."""

    def __init__(self, routes: HotRoutes, lifecycle: Lifecycle, metrics: Metrics, limits: ShellLimits | None = None) -> None:
        self.routes = routes
        self.lifecycle = lifecycle
        self.metrics = metrics
        self.limits = limits or ShellLimits()
        self.early = EarlyRefusals()
        self.budget_bytes = self.limits.bodies_bytes
        self.released = ReleaseRate()
        self.starting = lifecycle.state is State.STARTING
        self.draining = False
        # The smallest limit of any path: one comparison on the hot path decides whether to look closer.
        self.least_body_bytes = min([self.limits.body_bytes, *(limit for _, limit in routes.body_limits)])
        self.log_success = False
        # Asked before anything else of a request, unless it is None; see `serving.security`.
        self.guard: Guard | None = None
        # Web pages that may call from a browser. A request that names its page goes through the framework, which answers it so.
        self.origins: tuple[str, ...] = ()
        self._sampled = Sampled()
        self._standing_source: object = None
        self._standing = b""
        lifecycle.add_listener(self._on_state)
        metrics.add_source(self._families, summed=True)

    def _families(self) -> Iterable[Metric]:
        held = GaugeMetricFamily("penstock_large_body_bytes", "Bytes of large request bodies that are held, of all models.")
        held.add_metric((), self.limits.bodies_bytes - self.budget_bytes)
        yield held

    def _on_state(self, state: State) -> None:
        self.starting = state is State.STARTING
        self.draining = self.draining or state in (State.DRAINING, State.STOPPED)

    def standing_lines(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The header lines that every answer carries (the date), as the server keeps them up to date."""
        if default_headers is not self._standing_source:
            self._standing_source = default_headers
            self._standing = b"".join(b"%b: %b\r\n" % pair for pair in default_headers)
        return self._standing

    def body_limit(self, path: bytes, headers: Mapping[bytes, bytes]) -> int:
        """The most bytes that the body of a request may have."""
        streamed = self.routes.streamed_form(path, headers)
        return self.routes.body_limit(path, self.limits.body_bytes) if streamed is None else streamed.body_bytes

    def refusal(self, path: bytes, length: int, headers: Mapping[bytes, bytes]) -> PenstockError | None:
        """Why a body of `length` bytes is not even read, or None."""
        limit = self.body_limit(path, headers)
        if length <= limit and self.routes.streamed_form(path, headers) is not None:
            return None
        if length > limit:
            return TooLarge(f"expected a body of at most {limit} bytes, got Content-Length: {length}", field="body")
        if length > SMALL_BODY_BYTES and length > self.budget_bytes:
            return self.too_many_large(length)
        return None

    def large_refusal(
        self, params: tuple[str, ...], path: bytes, query: bytes, headers: Mapping[bytes, bytes], length: int, peer: str
    ) -> PenstockError | None:
        """Why a large body for a hot route is not read, or None: its model holds its share already, or the guard objects."""
        held = self.metrics.in_flight(params[0] if params else "").large_bytes
        if self.metrics.models > 1 and held + length > self.limits.bodies_bytes * MODEL_SHARE:
            return self.too_many_large(length)
        return None if self.guard is None else self.guard.check_hot(path, query, headers, peer)

    def too_many_large(self, length: int) -> Overloaded:
        """The answer to a large request while large requests fill the budget, or its model's part of it."""
        missing = max(length - max(self.budget_bytes, 0), 1)
        return Overloaded("too many large requests at once", retry_after_s=self.released.wait_s(missing))

    def record(
        self,
        counters: ModelMetrics,
        started: float,
        bytes_in: int,
        bytes_out: int,
        error: PenstockError | None,
        request_id: bytes,
        headers: Mapping[bytes, bytes],
    ) -> None:
        """Count an answered request, and log it if it failed (or if successes are logged too)."""
        duration_s = time.monotonic() - started
        counters.observe_request(duration_s, bytes_in, bytes_out)
        if error is not None:
            counters.observe_error(error.kind)
        if error is not None or self.log_success:
            self._log(counters, duration_s, error, request_id, headers.get(b"traceparent"))

    def _log(
        self, counters: ModelMetrics, duration_s: float, error: PenstockError | None, request_id: bytes, trace: bytes | None
    ) -> None:
        kept_back = self._sampled.admit(error.kind.value if error is not None else "answered") if error is not None else 0
        if kept_back is None:
            return
        parent = None if trace is None else tracing.child(trace)
        fields = {
            "trace_id": None if parent is None else tracing.trace_id(parent),
            "model": counters.model or None,
            "bundle": counters.bundle or None,
            "request_id": request_id.decode("latin-1"),
            "duration_ms": round(duration_s * 1e3, 3),
        }
        if error is None:
            logger.info("request answered", extra=fields)
            return
        status = HTTP_STATUS[error.kind]
        fields |= {
            "kind": error.kind.value,
            "status": status,
            "field": own_words(error.field),
            "lines_kept_back": kept_back or None,
        }
        loud = status >= 500 and error.kind is not ErrorKind.DEADLINE_EXCEEDED
        if error.kind is ErrorKind.UPSTREAM_UNAVAILABLE:
            # What it says is about something of ours that is away, and never about the request.
            fields["reason"] = error.message
        logger.log(logging.WARNING if loud else logging.INFO, "request failed", extra=fields)
