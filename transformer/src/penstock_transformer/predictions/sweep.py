"""The sweep: finds bodies in the object store that belong to no prediction, and deletes them.

    kept objects, with ages -> those old enough -> which of their ids have a row? -> delete the rest

A body is an orphan if it was written, the row was not, and nobody could say so: the process died in between. No live one is ever
deleted, for an input is deleted only if it is older than an hour and its id has no row, while its row follows it within seconds
(`ClaimCheck.submit` sees to that); a result only after its topic has forgotten the record that may refer to it; the ages are by
the store's own clock; and the objects are listed before the rows are looked up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from penstock.errors import PenstockError
from penstock_transformer.predictions.object_names import Kind
from penstock_transformer.predictions.objects import Kept, StoredObjects

logger = logging.getLogger(__name__)

ORPHAN_S = 3600.0

# Which of these prediction ids have a row.
Existing = Callable[[Sequence[str]], Awaitable[set[str]]]


def old_enough(page: Iterable[Kept], result_s: float) -> list[Kept]:
    """Those whose row would be there by now if there were one."""
    least = {Kind.INPUT: ORPHAN_S, Kind.RESULT: max(ORPHAN_S, result_s)}
    return [one for one in page if one.age_s > least[one.name.kind]]


async def sweep(objects: StoredObjects, existing: Existing, *, result_s: float) -> int:
    """One pass over the store; how many were deleted. Raises UpstreamUnavailable of store or database."""
    deleted = 0
    async for page in objects.kept():
        old = old_enough(page, result_s)
        ids = {one.name.prediction_id for one in old} - {None}
        living = await existing(sorted(filter(None, ids))) if ids else set()
        orphans = [one.name.key for one in old if one.name.prediction_id not in living]
        if orphans:
            await objects.remove(orphans)
            deleted += len(orphans)
    return deleted


async def sweep_every(objects: StoredObjects, existing: Existing, *, every_s: float, result_s: float) -> None:
    """Sweep until cancelled; a pass that fails is told and tried again at the next turn. Several processes may sweep at once."""
    while True:
        await asyncio.sleep(every_s)
        try:
            deleted = await sweep(objects, existing, result_s=result_s)
        except PenstockError as error:
            logger.warning("sweep of the object store failed", extra={"reason": error.message})
            continue
        if deleted:
            logger.info("orphaned objects deleted", extra={"count": deleted})
