"""The pipeline: one batch of callers' requests, from rows to answers.

    works -> route -> group per bundle -> one store read (or two) for all groups -> encode -> one predictor call each -> answers

Requests that wait at the same moment share everything up to the model run, whichever bundle they go to. Several batches are in
flight at once, so that the store, the encoder and the predictor work at the same time. Whatever fails for one caller fails that
caller alone; when a fault cannot be pinned on one, the works are run again one by one.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial

from penstock.batcher.work import answerable
from penstock.dataplane import Context
from penstock.errors import (
    Cancelled,
    ErrorKind,
    Internal,
    InvalidInput,
    PenstockError,
    UpstreamUnavailable,
    WrongBundle,
)
from penstock.tensors import Array
from penstock_transformer.active import ActiveBundle
from penstock_transformer.answer_log import AnswerLog
from penstock_transformer.call import ConnectionEnded, is_unplaced
from penstock_transformer.calling import call_rows, check_rows
from penstock_transformer.counters import Counters
from penstock_transformer.deadline_watch import DeadlineWatch
from penstock_transformer.evidence.sums import Sums
from penstock_transformer.group import Group
from penstock_transformer.joined_read import read_joined
from penstock_transformer.plain import plain_tensors
from penstock_transformer.requests import PredictResponse
from penstock_transformer.routing import assign
from penstock_transformer.routing_table import RouteTable
from penstock_transformer.store.port import SetColumns, SetRead, UnreadableValue
from penstock_transformer.waiting import check_wanted, wanted
from penstock_transformer.work import PredictWork

logger = logging.getLogger(__name__)

# What one caller's rows, or one stored value, may have caused for a whole batch.
_ONE_AT_FAULT = (InvalidInput, Internal, UnreadableValue)


class Pipeline:
    """Runs batches against the route of the moment. `run` answers every work; it raises only what a fault of ours raises. `log`,
    None for none, is shown what was answered."""

    def __init__(self, table: RouteTable, counters: Counters, *, call_timeout_s: float = 30.0, max_call_rows: int = 4096) -> None:
        self._table = table
        self._counters = counters
        self._call_timeout_s = call_timeout_s
        self._max_call_rows = max_call_rows
        self.log: AnswerLog | None = None

    async def run(self, works: Sequence[PredictWork]) -> None:
        """Answer a batch. Works whose deadline passes meanwhile are answered then, without waiting for the others."""
        watch = DeadlineWatch(works) if any(w.context.deadline is not None for w in works) else None
        try:
            await self._run_routed(works)
        finally:
            if watch is not None:
                watch.stop()

    async def _run_routed(self, works: Sequence[PredictWork]) -> None:
        began_s = time.monotonic()
        recorder = self._table.recorder
        tallies = recorder.shadows if works[0].copied else recorder.live
        shares = self._shares(works)
        for bundle in shares:
            bundle.use()
        try:
            groups = [Group(b, mine, tallies.get(b), began_s) for b, mine in shares.items() if b.plan is not None]
            plain = [self._run_plain(b, w, tallies.get(b)) for b, mine in shares.items() if b.plan is None for w in mine]
            if groups and not plain:
                await self._run_groups(groups)
            else:
                await asyncio.gather(*plain, *([self._run_groups(groups)] if groups else []))
        finally:
            for bundle, mine in shares.items():
                bundle.release()
                if not _all_counted(mine) and (sums := tallies.get(bundle)) is not None:
                    sums.failed(mine, now_s := time.monotonic(), now_s - began_s)

    def _shares(self, works: Sequence[PredictWork]) -> dict[ActiveBundle, list[PredictWork]]:
        route = self._table.route
        shares: dict[ActiveBundle, list[PredictWork]] = {}
        only = route.live[0].bundle if route is not None and len(route.live) == 1 else None
        for work in works:
            bundle = work.bundle
            if bundle is None and only is not None and work.context.expect_bundle is None and work.request.version is None:
                bundle = only
            if bundle is None:
                try:
                    bundle, work.sticky = assign(route, work.request)
                except PenstockError as error:
                    work.error(error)
                    continue
            mine = shares.get(bundle)
            if mine is None:
                shares[bundle] = [work]
            else:
                mine.append(work)
        return shares

    async def _run_groups(self, groups: Sequence[Group]) -> None:
        live: list[Group] = []
        for group in groups:
            try:
                group.begin()
            except Exception as fault:
                await self._alone(group, answerable(fault))
                continue
            if group.works:
                live.append(group)
        if not live:
            return
        await self._fetch(live)
        if len(live) == 1:
            await self._finish(live[0])
        else:
            # The smaller first: else requests of a version with few of them would wait for all the others of their batch, which
            # those of the version with most seldom do, and an equally fast version would look slower.
            await asyncio.gather(*map(self._finish, sorted(live, key=lambda group: group.rows)))

    async def _fetch(self, groups: Sequence[Group]) -> None:
        """Both reads of all groups, joined; a group whose store is away is degraded or failed, one with a fault left
        unfetched."""
        answers = await self._read(groups, [g.reads for g in groups])
        pending: list[Group] = []
        reads: list[list[SetRead]] = []
        for group, answer in zip(groups, answers, strict=True):
            if isinstance(answer, PenstockError):
                await self._without_store(group, answer)
                continue
            assert group.gathering is not None
            try:
                further = group.gathering.second(answer)
                if not further:
                    group.gathered = group.gathering.finish([])
                    continue
            except Exception as fault:
                await self._alone(group, answerable(fault))
                continue
            pending.append(group)
            reads.append(further)
        if not pending:
            return
        for group, answer in zip(pending, await self._read(pending, reads), strict=True):
            assert group.gathering is not None
            if isinstance(answer, _ONE_AT_FAULT):
                await self._alone(group, answer)
            elif isinstance(answer, PenstockError):
                group.fail(answer)
            else:
                group.gathered = group.gathering.finish(answer)

    async def _read(self, groups: Sequence[Group], reads: Sequence[list[SetRead]]) -> list[list[SetColumns] | PenstockError]:
        """One read per store, whatever the number of groups; the answers, or the error of its store, for each group."""
        counters = self._counters.store
        begun = time.monotonic()
        answers = await read_joined([(g.bundle.store, mine) for g, mine in zip(groups, reads, strict=True)])
        keys = sum([len(read.keys) for mine in reads for read in mine])
        if keys:
            counters.keys += keys
            counters.reads.observe(time.monotonic() - begun)
        return answers

    async def _without_store(self, group: Group, error: PenstockError) -> None:
        if isinstance(error, _ONE_AT_FAULT) and len(group.works) > 1:
            await self._alone(group, error)
            return
        self._counters.store_errors += 1
        if isinstance(error, UpstreamUnavailable) and group.plan.degradable:
            group.degrade(error)
            self._counters.degraded += len(group.works)
        else:
            group.fail(error)

    async def _finish(self, group: Group) -> None:
        """Resolve, encode, call, answer. A fault that may be one caller's runs the works again one by one."""
        if group.gathered is None:
            return
        bundle = group.bundle
        try:
            group.resolve(self._counters.store)
            if not group.works or group.resolved is None or self._nobody_waits(group.works):
                return
            go_on = partial(check_wanted, group.works)
            tensors = await bundle.encode(group.resolved.columns, group.rows, go_on, group.truncated)
            tensors = group.checked(tensors)
            if not group.works:
                return
            outputs, call_s = await self._call(bundle, tensors, group.bounds, group.works, group.sums)
            if len(group.works) > 1:
                check_rows(outputs, group.rows)
            group.answer(outputs)
            if group.sums is not None:
                now_s = time.monotonic()
                times_s = (now_s, now_s - group.began_s, call_s)
                group.sums.answered(group.works, group.bounds, times_s, outputs, group.resolved.columns)
            if self.log is not None:
                self.log.answered(group, outputs)
        except WrongBundle as error:
            await self._reroute(bundle, group.works, error)
        except _ONE_AT_FAULT as error:
            await self._alone(group, error)
        except PenstockError as error:
            await self._move(bundle, group.works, error)
        except Exception as fault:
            await self._alone(group, answerable(fault))

    async def _run_plain(self, bundle: ActiveBundle, work: PredictWork, sums: Sums | None) -> None:
        request, bounds = work.request, (0, work.rows)
        began_s = time.monotonic()
        try:
            tensors = plain_tensors(bundle.manifest, request, work.rows)
            outputs, call_s = await self._call(bundle, tensors, bounds, [work], sums)
            predictions = [] if work.tensors_only else bundle.postprocessor.apply(outputs)
            work.put(PredictResponse(request.model, bundle.label, predictions, outputs, version=bundle.version))
            if sums is not None:
                sums.answered([work], bounds, (now_s := time.monotonic(), now_s - began_s, call_s), outputs, None)
            if self.log is not None:
                self.log.answered_plain(bundle, work, outputs, predictions, sums)
        except WrongBundle as error:
            await self._reroute(bundle, [work], error)
        except Exception as fault:
            await self._move(bundle, [work], answerable(fault))

    async def _call(
        self,
        bundle: ActiveBundle,
        tensors: dict[str, Array],
        bounds: Sequence[int],
        works: Sequence[PredictWork],
        sums: Sums | None,
    ) -> tuple[dict[str, Array], float]:
        """The model's outputs, and the seconds that they took."""
        context, took_s = self._call_context(bundle, works), 0.0
        begun = time.monotonic()
        try:
            waited = partial(wanted, works)
            outputs = await call_rows(bundle, tensors, bounds, context, max_rows=self._max_call_rows, wanted=waited)
        except PenstockError as error:
            self._counters.call_failed(error.kind)
            if sums is not None and error.kind is ErrorKind.DEADLINE_EXCEEDED:
                sums.late_call(time.monotonic() - begun)
            raise
        finally:
            took_s = time.monotonic() - begun
            self._counters.calls.observe(took_s)
        return outputs, took_s

    def _call_context(self, bundle: ActiveBundle, works: Sequence[PredictWork]) -> Context:
        """The context of a shared call: it lasts as long as its most patient caller, and is as urgent as its most urgent."""
        first = works[0].context
        limit = time.monotonic() + self._call_timeout_s
        deadlines = [w.context.deadline for w in works]
        given = [d for d in deadlines if d is not None]
        deadline = min(limit, max(given)) if len(given) == len(deadlines) else limit
        priority = first.priority if len(works) == 1 else min(w.context.priority for w in works)
        return Context(
            first.request_id, deadline=deadline, priority=priority, traceparent=first.traceparent, expect_bundle=bundle.expect
        )

    async def _reroute(self, bundle: ActiveBundle, works: Sequence[PredictWork], error: WrongBundle) -> None:
        """The predictor holds another bundle: go where the route says now, once."""
        self._counters.refused_calls += 1
        again = [
            w
            for w in works
            if w.waiting and not w.retried and (w.context.expect_bundle is None or w.context.expect_bundle == bundle.digest)
        ]
        found = await self._table.refused(bundle, error)
        for work in works:
            if work not in again:
                work.error(_caller_error(work, error))
        for work in again:
            work.retried = True
            if found is not None and work.context.expect_bundle is None and work.request.version in (None, found.version):
                work.bundle = found
        if again:
            await self._run_routed(again)

    async def _move(self, bundle: ActiveBundle, works: Sequence[PredictWork], error: PenstockError) -> None:
        """Fail the works; those that only found no pod of their bundle go to another live one, once."""
        error.bundle = bundle.label
        moved: list[PredictWork] = []
        for work in works:
            # What was decided before (a shadow's copy, a second try) stays where it is.
            free = is_unplaced(error) and work.waiting and not work.retried and work.bundle is None
            found = self._table.instead(bundle, work.request) if free else None
            if found is None:
                work.error(error)
                continue
            work.bundle, work.retried, work.ended = found, True, isinstance(error, ConnectionEnded)
            moved.append(work)
        if moved:
            self._counters.moved_requests += len(moved)
            if (sums := self._table.recorder.live.get(bundle)) is not None:
                sums.moved += len(moved)
            await self._run_routed(moved)

    async def _alone(self, group: Group, error: PenstockError) -> None:
        if len(group.works) <= 1:
            group.fail(error)
            return
        self._counters.split_batches += 1
        logger.warning(
            "batch failed as a whole, its requests run one by one",
            extra={"bundle": group.bundle.label, "batch_size": len(group.works)},
        )
        waiting = [w for w in group.works if w.waiting]
        await asyncio.gather(*(self._run_groups([Group(group.bundle, [w], group.sums, group.began_s)]) for w in waiting))

    def _nobody_waits(self, works: Sequence[PredictWork]) -> bool:
        if wanted(works):
            return False
        for work in works:
            work.error(Cancelled("the caller is gone"))
        return True


def _all_counted(works: Sequence[PredictWork]) -> bool:
    """Whether the evidence has them all; a plain loop, for it is on every request's path."""
    for work in works:  # noqa: SIM110
        if not work.counted:
            return False
    return True


def _caller_error(work: PredictWork, error: WrongBundle) -> PenstockError:
    """412 is for callers who named a bundle; for the others a predictor that will not do is one that is away."""
    return error if work.context.expect_bundle is not None else UpstreamUnavailable(error.message)
