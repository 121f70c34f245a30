"""A look at a log's folder: which bundle answers now, and how it has done in the last window.

    LogFolder, Watch, window --look_at--> Look

Judged is the bundle that has answered most requests lately (in the last `every` that has any), by its rows in the window: one
that has been replaced is nobody's to retrain, and one that is new has to be judged by its own rows. Shadows answer nobody.
"""

from collections import defaultdict
from collections.abc import Iterator

from penstock_transformer.feedback.costs import Costs, read_costs
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.keeping import WAIT_S
from penstock_transformer.feedback.quality import qualities
from penstock_transformer.feedback.row import LogRow
from penstock_transformer.feedback.trigger.bounds import Watch
from penstock_transformer.feedback.trigger.bundles import Bundles
from penstock_transformer.feedback.trigger.live import Live
from penstock_transformer.feedback.trigger.look import Finding, Look, judge_quality
from penstock_transformer.feedback.trigger.window import Window

NO_ROWS = "the log has no rows of it"


def look_at(folder: LogFolder, watch: Watch, bundles: Bundles, window: Window, now_s: float) -> Look:
    """Judge a window. Raises PenstockError, OSError for a log that cannot be read."""
    found = answering(folder, Window(window.since, now_s), watch.every_s)
    if found is None:
        return Look(window, note=NO_ROWS)
    digest, label, version = found
    bundle = bundles.find(digest)
    live = None if bundle is None else Live(bundle, watch.drift)
    costs: Costs | None = None if bundle is None else read_costs(bundle.manifest.card)
    outcomes = folder.outcomes(max(window.since - WAIT_S, 0.0))
    rows = 0

    def mine() -> Iterator[LogRow]:
        nonlocal rows
        for row in folder.rows(window.since, window.until):
            if row.bundle == digest and not row.shadow:
                rows += 1
                if live is not None:
                    live.add(row)
                yield row

    quality = next(iter(qualities(mine(), outcomes, costs)), None)
    known = 0 if quality is None else quality.rows
    if rows < watch.least_rows:
        note = f"{rows} rows of {label} in the window, {watch.least_rows} are asked for"
        return Look(window, digest, label, version, rows, known, note=note)
    findings: list[Finding] = judge_quality(watch, quality)
    if live is not None:
        findings += live.findings(watch)
    return Look(window, digest, label, version, rows, known, tuple(findings), note=_why_silent(watch, findings, known))


def _why_silent(watch: Watch, findings: list[Finding], outcomes: int) -> str:
    if findings:
        return ""
    if watch.quality and outcomes < watch.least_rows:
        return f"{outcomes} outcomes in the window, {watch.least_rows} are asked for"
    return "nothing that has a bound can be judged"


def answering(folder: LogFolder, stretch: Window, lately_s: float) -> tuple[str, str, str | None] | None:
    """Digest, label and version of the bundle that answered most requests of the last `lately_s` of a stretch of time that have
    any; None without a request."""
    answered: list[tuple[float, str, float]] = []
    named: dict[str, tuple[str, str | None]] = {}
    for row in folder.rows(stretch.since, stretch.until):
        if not row.shadow and row.bundle:
            answered.append((row.clock, row.bundle, 1.0 / row.chance))
            named[row.bundle] = (row.label_of_bundle, row.version)
    if not answered:
        return None
    begin = max(clock for clock, _, _ in answered) - lately_s
    weights: defaultdict[str, float] = defaultdict(float)
    for clock, digest, weight in answered:
        if clock >= begin:
            weights[digest] += weight
    most = max(weights, key=lambda digest: (weights[digest], digest))
    return most, *named[most]
