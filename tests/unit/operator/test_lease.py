"""What a lease tells of the API server: nothing while it answers, and why it is of no use once it has not for a while."""

import asyncio
from collections.abc import Callable
from typing import cast

from penstock_operator.cluster import Cluster, ClusterError, Kind, Object
from penstock_operator.lease import Lease

DURATION_S = 10.0


class Refusing:
    """A cluster whose API server answers each look at the lease as the test says: with an error, or that another holds it."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        self._look()
        spec = {"holderIdentity": "another", "leaseDurationSeconds": DURATION_S}
        return {"metadata": {"resourceVersion": "1"}, "spec": spec}


async def after(answers: list[str | None], seconds_each: float) -> str | None:
    """What a lease says after these answers, None for a good one, with so long between two."""
    now, left = 0.0, list(answers)
    done = asyncio.Event()

    def look() -> None:
        nonlocal now
        now += seconds_each
        if not left:
            done.set()
            raise asyncio.CancelledError
        reason = left.pop(0)
        if reason is not None:
            raise ClusterError(reason)

    lease = Lease(cast(Cluster, Refusing(look)), "here", "one", "me", duration_s=0.01, clock=lambda: now * 0.01 / DURATION_S)
    keeping = asyncio.create_task(lease.keep())
    async with asyncio.timeout(30):
        await done.wait()
    await asyncio.gather(keeping, return_exceptions=True)
    return lease.trouble()


def told_after(answers: list[str | None], seconds_each: float) -> str | None:
    return asyncio.run(after(answers, seconds_each))


def test_a_standby_that_is_answered_has_no_trouble() -> None:
    assert told_after([None, None, None], 30.0) is None


def test_credentials_that_expired_are_told_after_a_while() -> None:
    assert told_after([None, "Unauthorized"], 4.0) is None
    assert told_after([None, "Unauthorized", "Unauthorized", "Unauthorized"], 4.0) == "Unauthorized"


def test_an_api_server_that_is_back_is_forgiven() -> None:
    assert told_after(["cut off"] * 9 + [None], 4.0) is None
