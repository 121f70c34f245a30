"""`penstock dead-letters show`: one of them whole."""

import json
import sys
from typing import Any

import click

from penstock_cli.dead_letters.choosing import broker, open_box, wanted_of
from penstock_cli.dead_letters.list import described, printable
from penstock_cli.errors import Command, Failure


@broker
@click.command("show", cls=Command)
@click.argument("model")
@click.argument("id")
@click.option("--value", "value_only", is_flag=True, help="The bytes that were sent, and nothing else.")
def command(model: str, id: str, value_only: bool, **options: Any) -> None:
    """Show the dead letter of MODEL whose prediction is ID, or that stands at TOPIC/PARTITION/OFFSET: why it is there, its
    headers, and what was sent."""
    found = open_box(model, options).find(wanted_of(None, None, (id,), done=True), 1)
    if not found:
        raise Failure(f"{model} has no dead letter {id}", f"List them: penstock dead-letters list {model}")
    letter = found[0].letter
    if value_only:
        sys.stdout.buffer.write(letter.value or b"")
        return
    for name, value in described(found[0]).items():
        if value is not None:
            said = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
            click.echo(f"{name:<12} {printable(said)}")
    if letter.key is not None:
        click.echo(f"{'key':<12} {_shown(letter.key)}")
    for header, content in letter.headers:
        click.echo(f"{'header':<12} {_shown(header.encode('utf-8', 'replace'))}: {_shown(content)}")
    for part in letter.omitted:
        click.echo(f"{'omitted':<12} {part}: it did not fit into the topic")
    if letter.value is not None:
        click.echo(f"\n{_shown(letter.value)}")


def _shown(value: bytes) -> str:
    """Text as it is, without what would steer a terminal; other bytes by their values."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return repr(value)[2:-1]
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
