"""`penstock feedback training-set`: a log's rows with what turned out to be true of them, as a table to train on.

    LogRow + Outcome --training_frame--> features as they were before encoding, _outcome, _weight, _time, _id, _row

The features are those that the bundle answered by: what was sent, and what the store had then. So nothing that was known only
later can slip in.

Invariant: a row is in the table once, whichever bundles answered it and had copies of it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.features.spec import FeatureSpec
from penstock.features.values import column_of
from penstock_cli.errors import Command, Failure
from penstock_cli.feedback.choosing import chosen_folder, log_options, moments
from penstock_cli.replay_store import value_of as plain_value
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.trigger.live import value_of

if TYPE_CHECKING:
    import pandas as pd

OUTCOME, WEIGHT, TIME, ID, ROW = "_outcome", "_weight", "_time", "_id", "_row"


def training_frame(
    folder: LogFolder, spec: FeatureSpec, since_s: float = 0.0, until_s: float = float("inf"), limit: int | None = None
) -> "pd.DataFrame":
    """Rows with an outcome, oldest first. `_weight`: how many predictions a row stands for; `_time`: seconds since 1970.

    Raises InvalidInput for a logged value that is none of its feature's type.
    """
    import pandas as pd

    outcomes = folder.outcomes()
    values: dict[str, list[Any]] = {feature.name: [] for feature in spec.features}
    kept: list[tuple[Any, float, float, str, int]] = []
    seen: set[tuple[str, int]] = set()
    for row in folder.rows(since_s, until_s):
        outcome = outcomes.get((row.id, row.row))
        if outcome is None or (row.id, row.row) in seen or row.shadow:
            continue
        seen.add((row.id, row.row))
        sent, stored = row.sent(), row.stored()
        for feature in spec.features:
            found = value_of(feature, spec, sent, stored, row.clock)
            values[feature.name].append(plain_value(found, feature.type))
        kept.append((outcome.truth, 1.0 / row.chance, row.clock, row.id, row.row))
        if len(kept) == limit:
            break
    columns: dict[str, Any] = {}
    for feature in spec.features:
        column = column_of(values[feature.name], feature.type, feature.name, length=feature.length)
        found = pd.Series(column.to_list())
        columns[feature.name] = pd.to_datetime(found, unit="s") if feature.type == "timestamp" else found
    for name, made in zip((OUTCOME, WEIGHT, TIME, ID, ROW), zip(*kept, strict=True) if kept else ((),) * 5, strict=True):
        columns[name] = list(made)
    return pd.DataFrame(columns).sort_values([TIME, ID, ROW], kind="stable", ignore_index=True)


@log_options
@click.command("training-set", cls=Command)
@click.argument("log", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--spec",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="features.yaml, or a draft of one: which features, and where they come from.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write: .parquet or .csv.")
def command(log: Path, spec: Path, out: Path, model: str | None, since: str | None, until: str | None, limit: int | None) -> None:
    """Write LOG's rows whose outcome is known as a table: the features of the spec, and _outcome, _weight, _time, _id, _row.

    _weight says how many predictions a row stands for: rows are logged with a chance.
    """
    from penstock.features.reading import read_spec

    if out.suffix not in (".parquet", ".csv"):
        raise click.UsageError("--out: expected a file that ends in .parquet or .csv")
    frame = training_frame(
        chosen_folder(log, model), read_spec(spec.read_bytes(), draft=True), *moments(since, until), limit=limit
    )
    if frame.empty:
        raise Failure(f"{log} has no row with an outcome there")
    if out.suffix == ".csv":
        frame.to_csv(out, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    else:
        frame.to_parquet(out, index=False)
    click.echo(f"{out}: {len(frame)} rows")
