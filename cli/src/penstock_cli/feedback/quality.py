"""`penstock feedback quality`: how good each bundle's predictions were, by the outcomes that are known."""

import json
from itertools import islice
from pathlib import Path

import click

from penstock_cli.errors import Command
from penstock_cli.feedback.choosing import chosen_folder, log_options, moments
from penstock_transformer.feedback.quality import Quality


@log_options
@click.command("quality", cls=Command)
@click.argument("log", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A bundle whose card has the costs of right and wrong answers; they count for all bundles of the log.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    log: Path, model: str | None, since: str | None, until: str | None, limit: int | None, bundle: Path | None, as_json: bool
) -> None:
    """How good the predictions in LOG were, bundle by bundle: accuracy, area under the curve, calibration, error, cost.

    Rows count by the chance with which they were logged, so that the figures are those of all requests.
    """
    from penstock.bundle.reading import open_bundle
    from penstock_transformer.feedback.costs import read_costs
    from penstock_transformer.feedback.quality import qualities

    costs = None if bundle is None else read_costs(open_bundle(bundle).manifest.card)
    folder = chosen_folder(log, model)
    found = qualities(islice(folder.rows(*moments(since, until)), limit), folder.outcomes(), costs)
    if as_json:
        click.echo(json.dumps({"model": folder.model, "bundles": [one.document() for one in found]}, ensure_ascii=False))
        return
    for one in found:
        click.echo(f"{one.bundle}{' (shadow)' if one.shadow else ''}")
        for line in told(one):
            click.echo(f"  {line}")


def told(one: Quality) -> list[str]:
    """One bundle's quality in words."""
    if not one.rows and not one.strange:
        return ["no outcome is known yet"]
    lines = [f"{one.rows} predictions with an outcome, which stand for {one.weight:.0f}"]
    if one.accuracy is not None:
        lines.append(f"accuracy {one.accuracy:.4f} ± {_twice(one.accuracy_error)}")
    if one.auc is not None:
        lines.append(f"area under the curve {one.auc:.4f}")
    if one.calibration_error is not None:
        lines.append(f"calibration error {one.calibration_error:.4f}")
    if one.bias is not None:
        rest = f"absolute {one.mean_absolute_error:.4g}, root mean square {one.root_mean_squared_error:.4g}"
        lines.append(f"mean error {one.bias:.4g} ± {_twice(one.bias_error, '.4g')}, {rest}")
    if one.cost is not None:
        lines.append(f"cost {one.cost:.4g} ± {_twice(one.cost_error, '.4g')} a prediction, {one.cost * one.weight:.6g} in all")
    for label, count in one.strange.items():
        lines.append(f"left out: {count} with the outcome {label!r}, which does not go with its answer")
    return lines


def _twice(error: float | None, form: str = ".4f") -> str:
    """Two standard errors: about the half of a 95 % interval."""
    return format(2 * (error or 0.0), form)
