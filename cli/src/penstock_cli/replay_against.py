"""A log's predictions made by a bundle that did not make them: what would change if it were rolled out.

LOG --rows of every bundle, shadows left out--> Replayer --> Against: agreement, and quality of both where outcomes are known
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from penstock.bundle.reading import Bundle
from penstock.errors import PenstockError
from penstock_cli.bundle.verifying import open_pipeline
from penstock_cli.errors import Failure
from penstock_cli.feedback.choosing import chosen_folder, moments
from penstock_cli.feedback.quality import told
from penstock_cli.replaying import Replayer, Report, compare, requests_of
from penstock_transformer.feedback.costs import read_costs
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.quality import Quality, qualities
from penstock_transformer.feedback.row import LogRow, answered_anew

_CHANGES_SHOWN = 5


@dataclass(slots=True)
class Against:
    """What came of it. `before` and `after` are the quality of what was answered and of what this bundle answers, over the same
    rows: those whose outcome is known."""

    log: Path
    report: Report
    before: list[Quality]
    after: list[Quality]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        quality = {"before": [one.document() for one in self.before], "after": [one.document() for one in self.after]}
        return self.report.document() | quality

    def told(self) -> Iterator[str]:
        """In words."""
        report = self.report
        yield f"against {self.log}: {report.rows} rows predicted, {sum(report.refused.values())} refused"
        if report.labels:
            yield f"  labels: {report.labels_agree} of {report.labels} agree ({report.labels_agree / report.labels:.2%})"
        for change, count in islice(sorted(report.changed.items(), key=lambda pair: -pair[1]), _CHANGES_SHOWN):
            yield f"    {count} {change}"
        if report.mean_difference is not None:
            yield f"  scores and values: {report.mean_difference:.4g} apart on average, {report.largest:.4g} at most"
        yield f"  {report.equal} rows are equal to the bit, {report.rounded} more up to rounding"
        for reason, count in report.refused.items():
            yield f"  refused: {count} rows: {reason}"
        for name, found in (("as it was answered", self.before), ("by this bundle", self.after)):
            for one in found:
                if one.rows:
                    yield f"  {name}, {one.bundle}: " + "; ".join(told(one))

    def check(self, least_agreement: float | None) -> None:
        """Raises Failure if nothing could be predicted, or less agrees than was asked for."""
        agreement = self.report.agreement
        if agreement is None:
            reason = next(iter(self.report.refused), "it has none")
            raise Failure(f"no row of {self.log} could be predicted: {reason}")
        if least_agreement is not None and agreement < least_agreement:
            raise Failure(f"{agreement:.2%} of the answers agree, at least {least_agreement:.2%} are asked for")


def replay_against(
    bundle: Bundle, log: Path, model: str | None, since: str | None, until: str | None, limit: int | None
) -> Against:
    """Predict a log's rows with a bundle. Raises NotFound, InvalidInput."""
    replayer = Replayer(open_pipeline(bundle))
    folder = chosen_folder(log, model)
    outcomes = folder.outcomes()
    report, before, after = Report(), list[LogRow](), list[LogRow]()
    rows = islice((row for row in folder.rows(*moments(since, until)) if not row.shadow), limit)
    for request in requests_of(rows):
        _one(replayer, request, report, outcomes, bundle, before, after)
    costs = read_costs(bundle.manifest.card)
    return Against(log, report, qualities(before, outcomes, costs), qualities(after, outcomes, costs))


def _one(
    replayer: Replayer,
    request: list[LogRow],
    report: Report,
    outcomes: dict[tuple[str, int], Outcome],
    bundle: Bundle,
    before: list[LogRow],
    after: list[LogRow],
) -> None:
    try:
        answers = replayer.answers(request)
    except PenstockError as error:
        report.refuse(error, len(request))
        return
    for row, got in zip(request, answers, strict=True):
        compare(report, row, got)
        if (row.id, row.row) in outcomes:
            before.append(row)
            after.append(answered_anew(row, got, bundle.manifest.name, bundle.digest))
