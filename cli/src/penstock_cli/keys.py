"""`penstock keys`: API keys for callers. The server has only their hashes; see `penstock.serving.security.keys`."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from penstock_cli.errors import Command, Failure
from penstock_cli.text_file import read_text

_DAY_S = 24 * 3600


@click.group()
def keys() -> None:
    """Make API keys, and see which ones a file lets in (`--api_keys FILE` of the servers)."""


@keys.command("new", cls=Command)
@click.option("--name", required=True, help="Who will have it; said in logs and counted by rate limits.")
@click.option(
    "--scope", "scopes", multiple=True, required=True, help="What it may do: predict:MODEL, read:*, write:*, admin; repeatable."
)
@click.option("--expires", help="When it stops working: a time such as 2027-01-31 or 2027-01-31T12:00:00Z.")
@click.option("--days", type=click.IntRange(1, 3650), help="The same, in days from now.")
@click.option("--file", "path", type=click.Path(path_type=Path, dir_okay=False), help="Add the line to this file.")
def new(name: str, scopes: tuple[str, ...], expires: str | None, days: int | None, path: Path | None) -> None:
    """Make a key. It is printed once, on stdout; nothing can show it again.

    The line for the server's file is printed too (on stderr, so that the key alone can be piped on), or added to --file.
    """
    from penstock.serving.security.keys import new_key, read_keys, read_time
    from penstock.serving.security.scopes import read_scope

    if expires is not None and days is not None:
        raise click.UsageError("expected --expires or --days, not both")
    try:
        allowed = frozenset(read_scope(scope) for scope in scopes)
        until = time.time() + days * _DAY_S if days is not None else read_time(expires) if expires is not None else None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if path is not None and path.exists():
        read_keys(path)
    key, entry = new_key(name, allowed, until)
    if path is None:
        click.echo(f"For the file of --api_keys:\n{entry.line()}\nThe key, shown this once:", err=True)
    else:
        _append(path, entry.line())
        click.echo(f"Added to {path}. The key, shown this once:", err=True)
    click.echo(key)


@keys.command("show", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def show(file: Path) -> None:
    """The keys of FILE: name, scopes, until when. Ends with 1 if a line cannot be read, as the server would refuse the file."""
    from penstock.serving.security.keys import read_keys

    now = time.time()
    rows = [["name", "scopes", "expires", "id"]]
    for key in read_keys(file).values():
        until = "never" if key.expires is None else f"{datetime.fromtimestamp(key.expires, UTC):%Y-%m-%d %H:%M}"
        rows.append(
            [
                key.caller.name.removeprefix("key "),
                " ".join(sorted(str(scope) for scope in key.caller.scopes)),
                until + (" (expired)" if key.expires is not None and key.expires <= now else ""),
                key.id,
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _append(path: Path, line: str) -> None:
    """Replace the file by one with this line more: a server that reads it meanwhile sees the one or the other."""
    try:
        before = read_text(path) if path.exists() else ""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(before + ("" if not before or before.endswith("\n") else "\n") + line + "\n")
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from None
