"""What replay and drop have in common: a choice that must be made, and what is said in the end."""

import click

from penstock_transformer.worker.dead_letter_box import Report


def check_chosen(reason: str | None, since: float | None, ids: tuple[str, ...], everything: bool) -> None:
    """Raises UsageError unless it was said which letters are meant."""
    chosen = reason is not None or since is not None or bool(ids)
    if chosen == everything:
        raise click.UsageError("expected --all, or which are meant: --id, --reason, --since")


def said(report: Report, what: str) -> int:
    """Print what came of it; the exit status."""
    for letter in report.done:
        click.echo(f"{what}  {letter.place}  {letter.id}")
    for letter, why in report.refused:
        click.echo(f"not {what}  {letter.place}  {letter.id}: {why}", err=True)
    refused = f", {len(report.refused)} not" if report.refused else ""
    click.echo(f"{len(report.done)} {what}{refused}", err=True)
    return 1 if report.refused else 0
