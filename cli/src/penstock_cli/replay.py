"""`penstock replay`: what was predicted, predicted again from the log."""

import json
from pathlib import Path

import click

from penstock_cli.errors import Command, Failure
from penstock_cli.feedback.choosing import chosen_folder, log_options, moments
from penstock_cli.progress import Progress


@log_options
@click.command("replay", cls=Command)
@click.argument("log", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--bundle", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="The bundle, a directory."
)
@click.option("--rounding", is_flag=True, help="Differences within rounding count as agreement.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    log: Path,
    bundle: Path,
    model: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
    rounding: bool,
    as_json: bool,
) -> None:
    """Predict again what BUNDLE has predicted according to LOG, from the logged rows and what the store had for them then.

    Exit code 0 if every row comes out bit for bit; else 1, and the first field that differs.
    """
    from itertools import islice

    from penstock.bundle.reading import open_bundle
    from penstock_cli.bundle.verifying import open_pipeline
    from penstock_cli.replaying import Replayer, replay

    with Progress("replaying") as progress:
        progress.say("opening the bundle")
        opened = open_bundle(bundle)
        replayer = Replayer(open_pipeline(opened))
        folder = chosen_folder(log, model)
        progress.say(f"reading {folder.model}")
        rows = (row for row in folder.rows(*moments(since, until)) if row.bundle == opened.digest)
        report = replay(replayer, islice(rows, limit))
    if as_json:
        click.echo(json.dumps({"bundle": opened.label} | report.document(), ensure_ascii=False))
    if not report.rows and not report.refused:
        raise Failure(
            f"{log} has no prediction of {opened.label}",
            "`penstock bundle verify BUNDLE --against LOG` replays another bundle's.",
        )
    if report.refused:
        reason, count = next(iter(report.refused.items()))
        raise Failure(f"{sum(report.refused.values())} rows cannot be predicted again; {count} of them: {reason}")
    if report.first is not None and not (rounding and not report.differing):
        raise Failure(f"{report.rows - report.equal} of {report.rows} rows differ; the first is {report.first}")
    if not as_json:
        same = "bit for bit" if not report.rounded else f"{report.rounded} of them up to rounding"
        click.echo(f"{opened.label}: {report.rows} rows come out as they were logged, {same}")
