"""`penstock feedback delete`: what a log says of a record, or of a prediction, is removed."""

from pathlib import Path

import click

from penstock_cli.errors import Command
from penstock_cli.feedback.choosing import chosen_folder


@click.command("delete", cls=Command)
@click.argument("log", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--record", help="The record's id: every row about it, in any request.")
@click.option("--id", "identity", help="A prediction's id: all rows of the request, and its outcomes.")
@click.option("--model", help="Which model's; needed where the log has several.")
def command(log: Path, record: str | None, identity: str | None, model: str | None) -> None:
    """Remove rows from LOG: its Parquet files are written anew without them. What is on its way there is kept out, too.

    What Kafka's topics still hold goes with their retention.
    """
    from penstock_transformer.feedback.deleting import delete
    from penstock_transformer.feedback.deletions import PREDICTION, RECORD

    if (record is None) == (identity is None):
        raise click.UsageError("expected --record ID or --id ID")
    folder = chosen_folder(log, model)
    kind, what = (RECORD, record) if record is not None else (PREDICTION, identity)
    assert what is not None
    removed = delete(folder, kind, what)
    click.echo(f"{removed} row{'' if removed == 1 else 's'} removed")
