"""`penstock bundle verify`: the command around `penstock_cli.bundle.verifying`."""

import json
from pathlib import Path

import click

from penstock_cli.errors import Command
from penstock_cli.progress import Progress


@click.command("verify", cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(bundle: Path, as_json: bool) -> None:
    """Check BUNDLE, a directory: every file's digest, then the golden examples through encoder, model and post-processing, each
    alone.

    Exit code 1 and the name of the file, line and tensor if anything differs.
    """
    from penstock_cli.bundle.verifying import verify

    with Progress("verifying") as progress:
        verified = verify(bundle, say=progress.say)
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
            )
        )
        return
    rows = f"{verified.golden_rows} golden rows agree" if verified.golden_rows else "no golden rows to try"
    click.echo(f"{found.label}: {len(found.manifest.files)} files as listed, {rows}")
