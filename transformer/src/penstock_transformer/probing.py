"""Whether what a route needs answers at this moment: asked over the network, not remembered.

Route -> predictor's readiness, one cheap read of the store, for each live bundle -> all of them answered

Asked before something that ended a predictor is tried again, so that what ends then can be blamed on it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from penstock.errors import InvalidInput, PenstockError
from penstock_transformer.active import ActiveBundle
from penstock_transformer.routing import Route
from penstock_transformer.store.port import SetRead, UnreadableValue

Answers = Callable[[str, float], Awaitable[bool]]
_INTEGERS = ("int32", "int64")


async def healthy(route: Route | None, timeout_s: float) -> bool:
    """Whether every live bundle's predictor and store answer within `timeout_s`. Never raises."""
    if route is None:
        return False
    bundles = {id(target.bundle): target.bundle for target in route.live}
    for bundle in bundles.values():
        bundle.use()
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncio.gather(*(_healthy(bundle, timeout_s) for bundle in bundles.values()))
    except TimeoutError:
        return False
    finally:
        for bundle in bundles.values():
            bundle.release()
    return all(found)


async def _healthy(bundle: ActiveBundle, timeout_s: float) -> bool:
    try:
        return await _predictor_answers(bundle, timeout_s) and await _store_answers(bundle)
    except (PenstockError, OSError):
        return False


async def _predictor_answers(bundle: ActiveBundle, timeout_s: float) -> bool:
    """A predictor in this process has no `answers`: where we run, it does."""
    answers: Answers | None = getattr(bundle.predictor, "answers", None)
    return True if answers is None else await answers(bundle.predictor_model, timeout_s)


async def _store_answers(bundle: ActiveBundle) -> bool:
    """One read of an entity that is not there; a store that predictions can do without is not asked."""
    plan, store = bundle.plan, bundle.store
    if plan is None or store is None or plan.layout is None or plan.degradable:
        return True
    first = plan.sets[0]
    key: tuple[Any, ...] = tuple(0 if kind in _INTEGERS else "" for kind in first.key_types)
    try:
        await store.read([SetRead(first.view, [key], tuple(first.stored_types)[:1])])
    except (InvalidInput, UnreadableValue):
        return True  # it has looked at what was asked
    return True
