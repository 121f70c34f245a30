"""One operator acts: a coordination.k8s.io Lease, as Kubernetes' own controllers use it.

    standing by --(free, or not renewed for its duration)--> holding --(renewed too late, or taken)--> standing by

Time is measured by each operator's own monotonic clock: what counts is how long ago *this* process saw the lease change, so
clocks that differ do no harm. The holder believes in its lease a little shorter than others wait for it. What a lease cannot
rule out (a process that stops between its last look at the clock and a call) the calls' resourceVersions do.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from penstock_operator.clock import write_moment
from penstock_operator.cluster import LEASES, Changed, Cluster, ClusterError, Missing, Object

log = logging.getLogger(__name__)


class Lease:
    """The lease `namespace/name`. `duration_s` without a renewal make it free."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.identity = identity
        self._cluster = cluster
        self._place = namespace, name
        self._duration_s = duration_s
        self._clock = clock
        self._held_until = 0.0
        self._seen: tuple[str, float] = ("", 0.0)
        self._mine: Object | None = None
        self._answered_at = clock()
        self._refusal = ""
        self.changes = asyncio.Event()

    def held(self) -> bool:
        """Whether this operator may act now."""
        return self._clock() < self._held_until

    def trouble(self) -> str | None:
        """Why the API server is of no use: for a lease's duration it has refused every call or answered none (it is away, cut
        off, or the credentials have expired). None while it answers, to a standby too."""
        return self._refusal if self._refusal and self._clock() - self._answered_at >= self._duration_s else None

    async def keep(self) -> None:
        """Take the lease whenever it is free and renew it, until cancelled; then let it go."""
        try:
            while True:
                before = self.held()
                try:
                    async with asyncio.timeout(self._duration_s / 2):
                        await self.renew()
                    self._answered_at, self._refusal = self._clock(), ""
                except (ClusterError, TimeoutError) as error:
                    self._refusal = str(error) or "no answer in time"
                    log.warning("lease not renewed", extra={"reason": self._refusal})
                if self.held() != before:
                    log.info("lease taken" if self.held() else "lease lost", extra={"identity": self.identity})
                    self.changes.set()
                await asyncio.sleep(self._duration_s / (5 if self.held() else 10))
        finally:
            with contextlib.suppress(ClusterError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._release()

    async def renew(self) -> None:
        """One try. Raises ClusterError if the API server gives no answer."""
        began = self._clock()
        mine, self._mine = self._mine, None
        if mine is not None and self.held():
            # The holder looks at it only if it is not as it was left: that is a call less.
            with contextlib.suppress(Changed, Missing):
                self._took(await self._cluster.replace(LEASES, self._document(mine)), began)
                return
        try:
            there = await self._cluster.get(LEASES, *self._place)
        except Missing:
            await self._write(self._cluster.create(LEASES, self._document(None)), began)
            return
        spec, version = there.get("spec") or {}, there["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = version, began
        holder = spec.get("holderIdentity") or ""
        expired = began - self._seen[1] >= float(spec.get("leaseDurationSeconds") or self._duration_s)
        if holder in ("", self.identity) or expired:
            await self._write(self._cluster.replace(LEASES, self._document(there)), began)
        else:
            self._held_until = 0.0

    async def _write(self, call: Awaitable[Object], began: float) -> None:
        try:
            self._took(await call, began)
        except Changed:
            self._held_until = 0.0

    def _took(self, written: Object, began: float) -> None:
        self._mine = written
        self._seen = written["metadata"]["resourceVersion"], began
        self._held_until = began + 0.8 * self._duration_s

    async def _release(self) -> None:
        if self._held_until:
            self._held_until = 0.0
            there = await self._cluster.get(LEASES, *self._place)
            if (there.get("spec") or {}).get("holderIdentity") == self.identity:
                there["spec"]["holderIdentity"] = ""
                await self._cluster.replace(LEASES, there)

    def _document(self, there: Object | None) -> Object:
        now = write_moment(time.time()).replace("Z", "000Z")
        before = (there or {}).get("spec") or {}
        taken = before.get("holderIdentity") != self.identity
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._duration_s)),
            "acquireTime": now if taken else before.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (1 if taken and there is not None else 0),
        }
        metadata = there["metadata"] if there is not None else {"namespace": self._place[0], "name": self._place[1]}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
