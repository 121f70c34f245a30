"""`penstock bundle pack`: the command around `penstock_cli.bundle.packing`."""

import hashlib
import json
from pathlib import Path

import click

from penstock_cli.errors import Command
from penstock_cli.progress import Progress


@click.command("pack", cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write; default: NAME-VERSION.tar here."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(bundle: Path, output: Path | None, as_json: bool) -> None:
    """Verify BUNDLE and pack it into one tar file. The same bundle gives the same bytes; the digest inside does not change."""
    from penstock.bundle.reading import open_bundle
    from penstock_cli.bundle.packing import pack

    with Progress("packing") as progress:
        found = open_bundle(bundle, progress=progress.say)
        target = output or Path(f"{found.manifest.name}-{found.manifest.version}.tar")
        pack(found, target)
        with target.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if as_json:
        click.echo(json.dumps({"file": str(target), "sha256": sha256, "digest": found.digest}))
        return
    click.echo(f"{target}: {found.label}, file sha256:{sha256}")
