"""`penstock bundle fit`: means, deviations, categories and the like, computed from training data and written into the spec."""

from pathlib import Path

import click

from penstock_cli.errors import Command, Failure
from penstock_cli.progress import Progress
from penstock_cli.text_file import read_text


@click.command("fit", cls=Command)
@click.argument("spec", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Training rows: .csv, .parquet or .jsonl."
)
@click.option("--sql", help="An SQL query that gives the training rows, or the name of a file that holds it.")
@click.option("--connection", help="SQLAlchemy URL of the query's database, such as sqlite:///company.db.")
@click.option("--target", help="Column that target encodings learn from.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write; default: standard output.")
def command(
    spec: Path, data: Path | None, sql: str | None, connection: str | None, target: str | None, output: Path | None
) -> None:
    """Fill in what the draft SPEC leaves out (`encode: standardise`, `oneHot: {}` …) from training data.

    The data has a column named after each feature. What the draft gives stays as it is.

    \b
    penstock bundle fit features.draft.yaml --data train.csv -o features.yaml
    penstock bundle fit features.draft.yaml --sql "select * from trips" --connection sqlite:///company.db -o features.yaml
    """
    if (data is None) == (sql is None):
        raise Failure("expected either --data FILE or --sql QUERY")
    if sql is not None and connection is None:
        raise Failure("--sql needs --connection", "For example: --connection sqlite:///company.db")
    from penstock.features.fitting import fit_spec
    from penstock.features.reading import read_spec, write_spec
    from penstock_cli.table import read_query, read_table

    draft = read_spec(spec.read_bytes(), draft=True)
    with Progress("fitting") as progress:
        progress.say("reading rows")
        if data is not None:
            frame = read_table(data, draft)
        else:
            frame = read_query(read_text(Path(str(sql))) if str(sql).endswith(".sql") else str(sql), str(connection))
        fitted = write_spec(fit_spec(draft, frame, target=target, progress=progress.say))
    if output is None:
        click.echo(fitted, nl=False)
        return
    output.write_text(fitted)
    click.echo(f"{output}: {len(draft.features)} features fitted on {len(frame)} rows", err=True)
