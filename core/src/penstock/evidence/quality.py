"""Quality as sums that add up: predictions whose outcome is known, of each bundle under each revision of the route.

    log's folder (log sink) --graded--> QualityDocument --GET /quality--> operator, whoever else decides

Counts are weights: a row that was logged with the chance p stands for 1 / p rows. They are no counters: an outcome that is
corrected moves its row from one sum to another, and one that is deleted takes it away. Each document is all that a log's folder
holds of a window, so a reader keeps the newest of each folder (`incarnation`) and adds nothing up over time.

Invariant: a document follows from what lies in the folder and from nothing else, so that any sink of the folder, and one that
starts anew, tells the same. Sums of different folders may be added.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from penstock.errors import InvalidInput
from penstock.evidence.adding import add_counts

FORMAT_VERSION = 1
SCORE_BINS = 100
"""Equal bins of a score, 0 to 1; the last one holds 1 itself."""

Weight = Annotated[float, msgspec.Meta(ge=0.0)]
Weights = list[tuple[int, float]]
"""Number of a bin and what it holds, those that hold anything."""


class Scores(msgspec.Struct, omit_defaults=True):
    """A label's scores by what turned out to be true: that label (`hits`) or another."""

    hits: Weights = []
    misses: Weights = []


class Units(msgspec.Struct, omit_defaults=True):
    """What a test of two bundles goes by. A unit is what chance gave to a bundle by itself: a route key under one revision, or a
    request without one. A unit's rows share its weight of 1 / chance; `wrong` is the part of it that was wrong, `cost` the
    part weighed by costs, 0 for the lowest of the table and 1 for the highest. `least`: the smallest chance among them."""

    weight: Weight = 0.0
    wrong: Weight = 0.0
    cost: Weight = 0.0
    costed: bool = False
    least: float = 1.0


class QualitySums(msgspec.Struct, omit_defaults=True):
    """`rows` have an outcome and stand for `weight` rows; `strange` have one that names a label which the bundle lacks.

    Of labels: `right` of `weight`; `brier` and `log_loss` sum up over the rows with `scored` scores (of two labels by the second,
    of more over all of them); `scores` by label, of two only the second's. Of numbers, predicted less true: `error`,
    `absolute_error`, `squared_error`. `cost` over `costed` rows, by the table whose digest is `table`, and `low` and `high` its
    lowest and highest entry.
    """

    rows: int = 0
    strange: int = 0
    weight: Weight = 0.0
    labelled: Weight = 0.0
    right: Weight = 0.0
    scored: Weight = 0.0
    brier: Weight = 0.0
    log_loss: Weight = 0.0
    scores: dict[str, Scores] = {}
    error: float = 0.0
    absolute_error: Weight = 0.0
    squared_error: Weight = 0.0
    cost: float = 0.0
    costed: Weight = 0.0
    table: str = ""
    low: float = 0.0
    high: float = 0.0
    units: Units = msgspec.field(default_factory=Units)


class QualityEntry(msgspec.Struct, omit_defaults=True):
    """One bundle's under one revision of the route, as a live one or as a shadow. `revision` None: of requests that named their
    bundle, or of a route without revisions; chance has assigned none of them."""

    bundle: str
    revision: int | None = None
    shadow: bool = False
    name: str = ""
    sums: QualitySums = msgspec.field(default_factory=QualitySums)


class LogQuality(msgspec.Struct):
    """All of one folder: rows predicted in [since_s, as_of_s), seconds since 1970, with the outcomes known at `as_of_s`."""

    incarnation: str
    as_of_s: float
    since_s: float
    entries: list[QualityEntry] = []


class QualityDocument(msgspec.Struct, rename="camel"):
    """What `GET /quality?model=M` answers. Without a folder of that model `logs` is empty."""

    model: str
    logs: list[LogQuality] = []
    format_version: int = FORMAT_VERSION


_decode = msgspec.json.Decoder(QualityDocument).decode


def read_quality(body: bytes) -> QualityDocument:
    """A sink's answer. Raises InvalidInput for one that is no such document, or has a later format."""
    try:
        found = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"not a log's quality: {error}"[:500], field="quality") from None
    if found.format_version != FORMAT_VERSION:
        raise InvalidInput(f"expected {FORMAT_VERSION}, got {found.format_version}", field="quality.formatVersion")
    return found


def entries_of(documents: Iterable[QualityDocument]) -> list[QualityEntry]:
    """What several sinks tell of one model: of each folder its newest, entries of one bundle, revision and mode made one."""
    newest: dict[str, LogQuality] = {}
    for document in documents:
        for log in document.logs:
            known = newest.get(log.incarnation)
            if known is None or log.as_of_s > known.as_of_s:
                newest[log.incarnation] = log
    found: dict[tuple[str, int, bool], list[QualityEntry]] = {}
    for log in newest.values():
        for entry in log.entries:
            key = (entry.bundle, -1 if entry.revision is None else entry.revision, entry.shadow)
            found.setdefault(key, []).append(entry)
    return [added_entries(found[key]) for key in sorted(found)]


def added_entries(several: Sequence[QualityEntry]) -> QualityEntry:
    """At least one entry of one bundle as one; revision, mode and name are the first's."""
    return msgspec.structs.replace(several[0], sums=added([entry.sums for entry in several]))


_NUMBERS = (
    "rows", "strange", "weight", "labelled", "right", "scored", "brier", "log_loss", "error", "absolute_error", "squared_error",
)  # fmt: skip


def added(several: Sequence[QualitySums]) -> QualitySums:
    """The sum of at least one. Costs of another table than the first's that has one are left out: they do not compare."""
    first = several[0]
    if len(several) == 1:
        return first
    table = next((one.table for one in several if one.table), "")
    priced = [one for one in several if one.table == table and table]
    total = QualitySums(**{name: sum(getattr(one, name) for one in several) for name in _NUMBERS})
    labels = sorted({label for one in several for label in one.scores})
    total.scores = {label: _scores([one.scores[label] for one in several if label in one.scores]) for label in labels}
    if priced:
        total.table, total.low, total.high = table, priced[0].low, priced[0].high
        total.cost, total.costed = sum(one.cost for one in priced), sum(one.costed for one in priced)
    units = [one.units for one in several]
    total.units = Units(
        weight=sum(one.weight for one in units),
        wrong=sum(one.wrong for one in units),
        cost=sum(one.cost for one in units),
        costed=all(one.units.costed and one.table == table for one in several if one.units.weight) and bool(table),
        least=min(one.least for one in units),
    )
    return total


def score_bin(score: float) -> int:
    """The bin of a score."""
    return min(max(int(score * SCORE_BINS), 0), SCORE_BINS - 1)


def area(scores: Scores) -> float | None:
    """The chance that a hit scores above a miss, half of it within a bin, so right to the width of one; None where one kind is
    missing (Hanley and McNeil, 1982)."""
    hits, misses = dict(scores.hits), dict(scores.misses)
    of_hits, of_misses = sum(hits.values()), sum(misses.values())
    if not of_hits or not of_misses:
        return None
    before, won = 0.0, 0.0
    for number in range(SCORE_BINS):
        here = misses.get(number, 0.0)
        won += hits.get(number, 0.0) * (before + here / 2)
        before += here
    return won / (of_hits * of_misses)


def _scores(several: Sequence[Scores]) -> Scores:
    return Scores(add_counts(one.hits for one in several), add_counts(one.misses for one in several))
