"""Whether the pods of a version on trial have answered for long enough that their latency is its own.

    what came at a look, the pods that serve --Warmth.look--> cold: the look's latencies are left out, of both versions

A pod's first requests fill its caches, its allocator's pools and its threads, and find a predictor that has chosen no kernels
yet; whichever version it holds, they take several times as long. Errors and answers are counted from the first request on: a
cold pod is slow, and not wrong.

Counted is time in which the version got requests, from look to look; and it begins anew with a pod that was not there before, or
that one of its containers was started again in. The pods of the version before are not looked at, but for a baseline's, which
are as young as the candidate's: a stable version of many pods would nearly always have a young one.

Invariant: at most `MOST_S` of a stage are left out, so that a version whose pods die all the time is judged by how slow it is.
"""

from collections.abc import Iterable

import msgspec

from penstock.evidence.document import Entry, Latency, Paired

WARM_S = 36.0
"""Six looks: what is left of the minute in which a version that doubles latency is to be found is enough at the default first
step. First requests were seen to be slow for seconds. With 30 s one simulated version in five was rolled back whose pods are
six times as slow at first, of which a third is left after 20 s; now none. What takes longer to warm up, an autoscaler that
follows or a cache of minutes, needs `rollout.baseline`."""
MOST_S = 120.0
_MOST_PODS = 256


class Warmth(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a status keeps of it. `answered_s`: how long the pods that are there have answered, `left_out_s` how much of this
    stage was left out; `pods`: those that were seen, by uid and how often they were started."""

    answered_s: float = 0.0
    left_out_s: float = 0.0
    pods: list[str] = []

    def look(self, passed_s: float, pods: Iterable[str], *, answers: bool) -> bool:
        """Whether what came in so many seconds since the last look is of a cold version. `answers`: it got requests in them."""
        here, known = set(pods), set(self.pods)
        if known and here - known:
            self.answered_s = 0.0
        kept = here | known
        self.pods = sorted(kept if len(kept) <= _MOST_PODS else here)
        cold = self.answered_s < WARM_S and self.left_out_s < MOST_S
        if answers:
            self.answered_s += passed_s
            self.left_out_s += passed_s if cold else 0.0
        return cold


def without_latency(entry: Entry) -> Entry:
    """The same counts, of which none is of a time."""
    callers = entry.callers and msgspec.structs.replace(entry.callers, quicker=[], slower=[])
    return msgspec.structs.replace(entry, latency=Latency(), paired=_untimed(entry.paired), callers=callers)


def _untimed(paired: Paired | None) -> Paired | None:
    if paired is None:
        return None
    return msgspec.structs.replace(
        paired, slower=0, faster=0, latency_ratios=[], ratios_upper=[], ratios_halved=0, keys=_untimed(paired.keys)
    )
