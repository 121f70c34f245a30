"""`penstock features load`: the command around `penstock_cli.features.loading`."""

import asyncio
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import click

from penstock.errors import InvalidInput
from penstock_cli.errors import Command, Failure
from penstock_cli.features.cells import moment
from penstock_cli.features.checkpoint import Checkpoint, Counts
from penstock_cli.features.history import History
from penstock_cli.features.loading import Load, Loaded, load
from penstock_cli.features.progress import LoadProgress
from penstock_cli.features.registry import layout_of, open_feast, view_definition
from penstock_cli.features.repository import open_repository
from penstock_cli.features.rows import CsvRows, RowReader, Source, SqlRows
from penstock_cli.progress import Progress
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.settings import StoreSettings

# A batch of hundreds of rows may take a shared database longer than a request may.
_TIMEOUT_S = 30.0


@click.command("load", cls=Command)
@click.argument("name", metavar="[VIEW]", required=False)
@click.option("--view", help="The feature view to fill (or name it as the argument).")
@click.option("--repo", type=click.Path(path_type=Path, file_okay=False), default=".", help="The Feast repository [this folder].")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A CSV file with a header.")
@click.option("--sql", "query", help="An SQL query; needs --connection.")
@click.option("--connection", help="The database of --sql, as an SQLAlchemy URL.")
@click.option("--event-time", help="As of when rows without a time are: ISO 8601 or epoch seconds.")
@click.option("--rejects", type=click.Path(path_type=Path, dir_okay=False), help="Where rejected rows go [VIEW.rejects.csv].")
@click.option("--feature-store", "--feature_store", "url", help="Another online store than feature_store.yaml names.")
@click.option("--online-only", is_flag=True, help="Leave the history alone that training sets are made of.")
@click.option("--restart", is_flag=True, help="Start over instead of going on with an interrupted load.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    name: str | None,
    view: str | None,
    repo: Path,
    csv_file: Path | None,
    query: str | None,
    connection: str | None,
    event_time: str | None,
    rejects: Path | None,
    url: str | None,
    online_only: bool,
    restart: bool,
    as_json: bool,
) -> None:
    """Write the rows of a CSV file or an SQL query into VIEW: the online store, and the view's Parquet history if it has one.

    Columns are found by name: the view's keys, its features, and its source's time. Each cell is checked against the
    definition; a row that does not fit goes to the reject file with its line and the reason, the others are loaded, and the
    exit status is 1. A row that is not newer than what the store holds changes nothing, so the same file can be loaded twice,
    and an interrupted load goes on where it was.
    """
    view = view or name
    if not view:
        raise click.UsageError("name the view: penstock features load VIEW --csv FILE")
    _check_source(csv_file, query, connection)
    rejects = rejects or Path(f"{view}.rejects.csv")
    if csv_file is not None and rejects.resolve() == csv_file.resolve():
        raise click.UsageError(f"--rejects would overwrite the rows themselves: {csv_file}")
    as_of = _as_of(event_time)
    repository = open_repository(repo)
    with Progress("loading") as step:
        step.say("importing Feast")
        feast = open_feast(repository.path)
        definition, layout = view_definition(feast, view), layout_of(feast, [view])
    source: Source = CsvRows(csv_file) if csv_file else SqlRows(query or "", connection or "")
    store_url, history_path = url or repository.online_url, None if online_only else definition.history
    checkpoint = Checkpoint(repository.path, view, _identity(source, store_url, layout, as_of, history_path))
    history = None if history_path is None else History(definition, history_path, checkpoint.folder)
    order = Load(
        source=source,
        reader=RowReader(definition, source, as_of, layout.key_serialization),
        store=open_store(store_url, layout, StoreSettings(timeout_s=_TIMEOUT_S)),
        checkpoint=checkpoint,
        history=history,
        rejects=rejects,
    )
    with LoadProgress(view, source.size) as bar:
        loaded = asyncio.run(load(order, bar.show, afresh=restart))
    _tell(view, loaded, order.rejects, as_json)
    _check_rejected(loaded.counts, order.rejects)


def _check_source(csv_file: Path | None, query: str | None, connection: str | None) -> None:
    if (csv_file is None) == (query is None):
        raise click.UsageError("give one of --csv FILE and --sql QUERY")
    if query is not None and not connection:
        raise click.UsageError("--sql needs --connection, an SQLAlchemy URL such as postgresql+psycopg://user@host/database")


def _identity(source: Source, *of: object) -> str:
    """A load is the rest of an interrupted one if it has the same rows, brings them to the same place and reads them alike."""
    return hashlib.sha256("\0".join([source.identity, *map(repr, of)]).encode()).hexdigest()


def _check_rejected(counts: Counts, rejects: Path) -> None:
    """Raises Failure if a row was rejected: a script must not take half a load for a whole one."""
    if not counts.rejected:
        return
    which = "every row was" if counts.rejected == counts.read else f"{counts.rejected:,} of {counts.read:,} rows were"
    remedy = "The other rows are loaded; correct these and load them again." if counts.rejected < counts.read else None
    raise Failure(f"{which} rejected; the reasons are in {rejects}", remedy)


def _as_of(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return moment(text)
    except ValueError as error:
        raise InvalidInput(str(error), field="--event-time") from None


def _tell(view: str, loaded: Loaded, rejects: Path, as_json: bool) -> None:
    counts = loaded.counts
    if as_json:
        found = {"view": view, **asdict(counts), "resumed_at": loaded.resumed_at, "history_rows": loaded.history_rows}
        for name in ("line", "last", "parts", "reject_bytes"):
            del found[name]
        click.echo(json.dumps(found | {"rejects": str(rejects) if counts.rejected else None}))
        return
    parts = [f"{counts.written:,} written", f"{counts.unchanged:,} not newer than the store"]
    if loaded.history_rows:
        parts.append(f"{loaded.history_rows:,} new in the history")
    if loaded.resumed_at:
        parts.append(f"resumed after {loaded.resumed_at:,}")
    if counts.rejected:
        parts.append(f"{counts.rejected:,} rejected, see {rejects}")
    click.echo(f"{view}: {counts.read:,} rows, {', '.join(parts)}")
