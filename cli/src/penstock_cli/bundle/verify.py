"""`penstock bundle verify`: the command around `penstock_cli.bundle.verifying`, and what a log says of the bundle beside it."""

import json
from pathlib import Path

import click

from penstock_cli.errors import Command
from penstock_cli.feedback.choosing import log_options
from penstock_cli.progress import Progress


@click.command("verify", cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A log of predictions, to be made by this bundle.",
)
@click.option("--least-agreement", type=click.FloatRange(0, 1), help="With --against: fail if a smaller share agrees.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@log_options
def command(
    bundle: Path,
    against: Path | None,
    least_agreement: float | None,
    as_json: bool,
    model: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
) -> None:
    """Check BUNDLE, a directory: every file's digest, then the golden examples through encoder, model and post-processing, each
    alone.

    Exit code 1 and the name of the file, line and tensor if anything differs.

    With --against LOG the predictions of a log are made again by this bundle, which may be another than the one that made them,
    and compared: what it would have answered to yesterday's requests, before anybody depends on it.
    """
    from penstock_cli.bundle.verifying import verify

    with Progress("verifying") as progress:
        verified = verify(bundle, say=progress.say)
        report = None
        if against is not None:
            from penstock_cli.replay_against import replay_against

            progress.say(f"predicting what {against} has")
            report = replay_against(verified.bundle, against, model, since, until, limit)
    found = verified.bundle
    if as_json:
        click.echo(
            json.dumps(
                {
                    "label": found.label,
                    "digest": found.digest,
                    "files": len(found.manifest.files),
                    "goldenRows": verified.golden_rows,
                }
                | ({} if report is None else {"against": report.document()})
            )
        )
    else:
        rows = f"{verified.golden_rows} golden rows agree" if verified.golden_rows else "no golden rows to try"
        click.echo(f"{found.label}: {len(found.manifest.files)} files as listed, {rows}")
    if report is not None:
        for line in () if as_json else report.told():
            click.echo(line)
        report.check(least_agreement)
