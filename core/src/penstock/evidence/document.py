"""What `GET /evidence` answers: cumulative sums of each bundle that a route held, of every process of a pod.

    recorder (transformer) --> Evidence --JSON--> Ledger (operator) --> totals

Invariant: within one `incarnation` no count ever falls, and everything in an entry belongs to one bundle, one revision of the
route, one arm of it, and live requests or copies for a shadow alone. Hence entries of different processes may be added, and two
looks at one process subtracted. A field that a reader does not know is ignored, one that a writer does not know is empty.

Most is told twice: of all requests, for whoever watches a service, and `keys`, of each key's first request in 60 s, for whoever
tests a version. What sticks to a bundle is no independent trial, however many requests it makes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec

from penstock.errors import InvalidInput
from penstock.evidence.callers import Callers

FORMAT_VERSION = 1

Count = Annotated[int, msgspec.Meta(ge=0)]
Counts = list[tuple[Count, Count]]
"""Bin and how many it holds, by bin, each once and only those that hold any. The bins are those of `penstock.evidence.scales`."""


class Bins(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a value is counted: numbers by `edges` (ascending), texts and flags by `values`; one of the two is empty.

    With k >= 1 edges there are k + 3 counts: below the first edge, [e0, e1), [e1, e2) …, exactly the last edge, above it,
    missing (NaN too). With v values there are v + 2: each value, any other, missing.
    """

    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many counts there are."""
        return len(self.edges) + 3 if self.edges else len(self.values) + 2


class Histogram(msgspec.Struct, omit_defaults=True):
    """How many values each bin holds, and what the bundle's profile says of the same (`training`, in its own bins, or empty).
    `keys`: of one row of each request that was the first of its key, drawn by chance; empty of features, and if there is none."""

    bins: Bins
    counts: list[Count]
    training: "Training | None" = None
    keys: list[Count] = []


class Training(msgspec.Struct, frozen=True):
    """A distribution of profile.json: counts in `bins`, of the training's example rows."""

    bins: Bins
    counts: tuple[Count, ...]


class Latency(msgspec.Struct, omit_defaults=True):
    """Seconds, in bins. `call`: calls of the predictor, one a batch. `request`: requests, from the start of their batch to the
    answer. Both count what was answered and what its deadline ended; what failed otherwise, often at once, is in neither. `keys`:
    those of `request` that were the first of their key, and in how many `batches` they were, for those of one are alike.
    `keys_upper`: how many of `keys` lay in the upper half of each bin; `keys_halved`: of how many `keys` that is known."""

    call: Counts = []
    request: Counts = []
    keys: Counts = []
    batches: Count = 0
    keys_upper: Counts = []
    keys_halved: Count = 0


class Paired(msgspec.Struct, omit_defaults=True):
    """A shadow against what callers were answered, on the same requests: `requests` pairs are over, both ways.

    Both answered: `agreeing` or `differing` by the labels of all rows (neither for models without labels), `score_differences` by
    the greatest difference of any score or value (values in standard deviations of the training), and the calls' latencies:
    `slower` and `faster` of the shadow, `latency_ratios` its seconds by those of the other, of which `ratios_upper` lay in the
    upper half of their bin, known of `ratios_halved`. `left_out`, and in nothing else, are those of which a side was given up,
    because the caller had left.

    `keys`: the same of each key once in 60 s (`requests` are then keys): by its first pair, or by its first one that failed.
    """

    requests: Count = 0
    agreeing: Count = 0
    differing: Count = 0
    score_differences: Counts = []
    slower: Count = 0
    faster: Count = 0
    latency_ratios: Counts = []
    only_shadow_failed: Count = 0
    only_answer_failed: Count = 0
    both_failed: Count = 0
    left_out: Count = 0
    keys: "Paired | None" = None
    ratios_upper: Counts = []
    ratios_halved: Count = 0


class Entry(msgspec.Struct, omit_defaults=True):
    """One bundle under one revision of the route, as a live one or as a shadow. `arm`: the route's name for pods of its own that
    answer a part of its requests; "" for all others. What one arm did is in no other.

    `keys`: a route key until it fails, or a request without one, counts once a window of 60 s; `failed_keys`: those that met an
    error, by its kind, so that their sum is at most `keys`. `unkeyed` requests have a key that is not looked at, because too many
    came: they are in neither. `moved` requests were its own, and found no pod of it: another live bundle answered them, and has
    them in its sums. Requests that name their bundle or version are in nothing here: no route chose for them.
    """

    bundle: str
    revision: Count = 0
    shadow: bool = False
    version: str = ""
    requests: Count = 0
    rows: Count = 0
    errors: dict[str, Count] = {}
    keys: Count = 0
    failed_keys: dict[str, Count] = {}
    unkeyed: Count = 0
    moved: Count = 0
    latency: Latency = msgspec.field(default_factory=Latency)
    outputs: dict[str, Histogram] = {}
    features: dict[str, Histogram] = {}
    paired: Paired | None = None
    arm: str = ""
    callers: Callers | None = None

    @property
    def key(self) -> "EntryKey":
        """What tells it from the other entries."""
        return self.bundle, self.revision, self.shadow, self.arm


EntryKey = tuple[str, int, bool, str]
"""Bundle, revision, shadow, arm."""


class Process(msgspec.Struct):
    """What one process has counted since it began, `age_s` seconds ago. `incarnation` is new with every process."""

    incarnation: str
    age_s: float
    entries: list[Entry] = []


class Evidence(msgspec.Struct, rename="camel"):
    """A pod's evidence: that of each of its processes, for programs with `--workers` have several. `route`: what the pod answers
    to `GET /route` at this moment, for who wants both and asks once; None of a release that does not tell it here."""

    model: str
    processes: list[Process] = []
    format_version: int = FORMAT_VERSION
    route: Any = None


_decoder = msgspec.json.Decoder(Evidence)


def read_evidence(body: bytes) -> Evidence:
    """A pod's answer. Raises InvalidInput for one that is not evidence, or has a later format."""
    with decoding():
        evidence = _decoder.decode(body)
    check_format(evidence)
    for process in evidence.processes:
        for entry in process.entries:
            check_bins(entry)
    return evidence


@contextmanager
def decoding() -> Iterator[None]:
    """Raises InvalidInput for what cannot be decoded as evidence in the block."""
    try:
        yield
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"not a pod's evidence: {error}", field="evidence") from None


def check_format(evidence: Evidence) -> None:
    """Raises InvalidInput for evidence of a later format."""
    if evidence.format_version != FORMAT_VERSION:
        raise InvalidInput(f"expected {FORMAT_VERSION}, got {evidence.format_version}", field="evidence.formatVersion")


def check_bins(entry: Entry) -> None:
    """Raises InvalidInput for a histogram that has more or fewer counts than bins."""
    for kind, found in (("outputs", entry.outputs), ("features", entry.features)):
        for name, histogram in found.items():
            for counts in (histogram.counts, histogram.keys or histogram.counts):
                if len(counts) != histogram.bins.size:
                    what = f"expected {histogram.bins.size} counts, got {len(counts)}"
                    raise InvalidInput(what, field=f"evidence.{kind}.{name[:80]}")
