"""The reads of several groups as one round trip per store.

[(store, reads of a group), …] -> store.read(all of its reads) -> each group's answers, or its store's error
"""

import asyncio
from collections.abc import Sequence

from penstock.batcher.work import answerable
from penstock.errors import PenstockError, UpstreamUnavailable
from penstock_transformer.store.port import FeatureStore, SetColumns, SetRead

Answers = list[SetColumns] | PenstockError


async def read_joined(asked: Sequence[tuple[FeatureStore | None, list[SetRead]]]) -> list[Answers]:
    """Answers in the order asked. What goes wrong is never raised: it is the answer of the groups it belongs to."""
    if len(asked) == 1:
        return [await _read(*asked[0])]
    stores: dict[int, FeatureStore | None] = {id(store): store for store, _ in asked}
    joined = {at: [read for store, reads in asked for read in reads if id(store) == at] for at in stores}
    outcomes = dict(zip(stores, await asyncio.gather(*(_read(stores[at], joined[at]) for at in stores)), strict=True))
    used = dict.fromkeys(stores, 0)
    answers: list[Answers] = []
    for store, reads in asked:
        outcome = outcomes[id(store)]
        start = used[id(store)]
        used[id(store)] += len(reads)
        answers.append(outcome if isinstance(outcome, PenstockError) else outcome[start : start + len(reads)])
    return answers


async def _read(store: FeatureStore | None, reads: list[SetRead]) -> Answers:
    if not reads:
        return []
    if store is None:
        return UpstreamUnavailable("no feature store is configured; start with --feature_store URL")
    try:
        return await store.read(reads)
    except Exception as fault:
        return answerable(fault)
