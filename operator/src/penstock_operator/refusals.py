"""Objects that the API server does not take (a quota, a policy, a webhook that is away): given again, less and less often.

    plan, its outcome --noted--> refusals --look--> Seen --still_asked_for--> why, for statuses
                                                         \\--put_off--> the plan without those whose time has not come

Each try may be as long as a webhook is silent, and may come back with other words (ports, ids): a status of its own, of which the
watch tells, so that there would be another try at once. What has changed since is tried at once.

Invariants: nothing else waits for them, so a plan has them last; what was not refused before holds up a plan once (`apply`). Each
has its turn where one is tried at a time, so those with the fewest tries come first.
"""

from collections.abc import Iterable
from dataclasses import replace

from penstock_operator.apply import Outcome
from penstock_operator.cluster import ClusterError
from penstock_operator.plan import Operation, Plan, Verb
from penstock_operator.seen import ObjectKey, Refusal, Seen

_FIRST_S, LONGEST_S = 0.5, 30.0
"""Between two tries: twice as long each time."""


def noted(seen: Seen, plan: Plan, outcome: Outcome, now: float) -> dict[ObjectKey, Refusal]:
    """What is refused after a plan that was decided on `seen`; `now` it is done."""
    applied = {(one.kind, one.name): one for one in plan.operations if one.verb is Verb.APPLY}
    # Those that the plan did not come to, and those whose time had not come; what it has not given then nobody asks for.
    after = {
        key: one for key, one in seen.refused.items() if key not in outcome.taken and (key in applied or _wait_s(one, seen.now))
    }
    for key, error in (*outcome.refused.items(), *outcome.untried.items()):
        document = applied[key].document
        known = seen.refused.get(key)
        before = known if known is not None and known.document == document else Refusal(str(error), document, now)
        one = before if key in outcome.untried else _tried(before, error, now)
        after[key] = replace(one, until=now + min(_FIRST_S * 2 ** min(max(one.tries - 1, 0), 10), LONGEST_S))
    return after


def _tried(before: Refusal, error: ClusterError, now: float) -> Refusal:
    """The same after one try more."""
    since = min(before.since, now) if error.status else float("inf")
    return replace(before, why=str(error), tries=before.tries + 1, tried=now, since=since)


def still_asked_for(seen: Seen, wanted: Iterable[Operation]) -> Seen:
    """The same, with the refusals only of what would be given again."""
    keys = {(operation.kind, operation.name) for operation in wanted}
    return replace(seen, refused={key: one for key, one in seen.refused.items() if key in keys})


def put_off(operations: Iterable[Operation], seen: Seen) -> tuple[Operation, ...]:
    """The calls, last of all those that were refused, and of these the ones whose time has come."""
    first: list[Operation] = []
    last: list[tuple[int, Operation]] = []
    for operation in operations:
        refusal = seen.refused.get((operation.kind, operation.name)) if operation.verb is Verb.APPLY else None
        if refusal is None:
            first.append(operation)
        elif refusal.document != operation.document or not _wait_s(refusal, seen.now):
            last.append((refusal.tries, operation))
    return (*first, *(operation for _, operation in sorted(last, key=lambda pair: pair[0])))


def wait_s(seen: Seen) -> float:
    """Seconds until one of them is to be tried again; infinite without any."""
    return min((found for one in seen.refused.values() if (found := _wait_s(one, seen.now))), default=float("inf"))


def _wait_s(refusal: Refusal, now: float) -> float:
    """0 if its time has come. One that is much further away than any is so by a clock that has been set since."""
    rest_s = refusal.until - now
    return rest_s if 0.0 < rest_s <= 2 * LONGEST_S else 0.0
