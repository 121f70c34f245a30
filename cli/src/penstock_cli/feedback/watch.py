"""`penstock feedback watch`: what the retrain trigger would find in a log now, or at another time. Nothing is asked for."""

import json
import time
from pathlib import Path

import click
import msgspec

from penstock_cli.errors import Command
from penstock_cli.feedback.choosing import moments
from penstock_transformer.feedback.trigger.look import Look

PASSED, SILENT = 3, 4


@click.command("watch", cls=Command)
@click.argument("log", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--at", help="As it was then, such as 2026-01-31T12:00:00Z.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(context: click.Context, log: Path, file: Path, at: str | None, as_json: bool) -> None:
    """Hold LOG to the bounds of FILE, a watch file of `penstock-transformer retrain-trigger`, over its last whole window.

    Exit code 0: within bounds; 3: a bound is passed, so the trigger would ask for a retraining; 4: nothing can be said yet. It
    asks nobody: `penstock-transformer retrain-trigger --once` does.
    """
    from penstock_transformer.feedback.folder import log_folder
    from penstock_transformer.feedback.trigger.bounds import open_watch
    from penstock_transformer.feedback.trigger.bundles import Bundles
    from penstock_transformer.feedback.trigger.looking import look_at
    from penstock_transformer.feedback.trigger.window import latest

    watch = open_watch(file)
    now = time.time() if at is None else moments(at, None)[0]
    window = latest(now, length_s=watch.window_s, every_s=watch.every_s, delay_s=watch.delay_s)
    look = look_at(log_folder(log, watch.model), watch, Bundles(watch.bundles, watch.model), window, now)
    if as_json:
        click.echo(json.dumps(_document(look), ensure_ascii=False))
    else:
        for line in _told(look):
            click.echo(line)
    context.exit(SILENT if look.note else PASSED if look.passed else 0)


def _document(look: Look) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(look)
    findings = [msgspec.to_builtins(one) | {"passed": one.passed, "text": one.text} for one in look.findings]
    return found | {"window": look.window.document(), "findings": findings}


def _told(look: Look) -> list[str]:
    told = look.window.document()
    lines = [
        f"{look.label or 'no bundle'}, {told['since']} to {told['until']}: {look.rows} rows, {look.outcomes} with an outcome"
    ]
    lines += [f"  {one.text}" for one in sorted(look.findings, key=lambda one: not one.passed)]
    if look.note:
        lines.append(f"  nothing can be said: {look.note}")
    return lines
