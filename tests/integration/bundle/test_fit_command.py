"""`penstock bundle fit`, and the rows that it and the others read."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from penstock.errors import InvalidInput
from penstock.features.reading import read_spec

Command = Callable[..., Result]
Fails = Callable[..., None]
Build = Callable[..., Path]


def test_fit_reads_csv_parquet_and_sql_alike(workshop: Path, command: Command) -> None:
    fitted = (workshop / "features.yaml").read_text()
    frame = pd.read_csv(workshop / "rows.csv", keep_default_na=False, dtype={"carrier": str})
    frame["seats"] = pd.array([150, None, 100, 9007199254740993], dtype="Int64")
    frame.to_parquet(workshop / "rows.parquet")
    with sqlite3.connect(workshop / "company.db") as connection:
        frame.to_sql("trips", connection, index=False)
    (workshop / "query.sql").write_text("select * from trips")
    database = ("--connection", f"sqlite:///{workshop}/company.db")
    assert command("fit", workshop / "draft.yaml", "--data", workshop / "rows.csv").stdout == fitted
    assert command("fit", workshop / "draft.yaml", "--data", workshop / "rows.parquet").stdout == fitted
    spec = read_spec(command("fit", workshop / "draft.yaml", "--sql", "select * from trips limit 3", *database).stdout)
    assert read_spec(command("fit", workshop / "draft.yaml", "--sql", workshop / "query.sql", *database).stdout) != spec
    assert spec.features[1].encode[0].parameters["categories"] == ["AA", "NO"]


def test_fit_says_what_is_wrong(workshop: Path, command: Command, fails: Fails) -> None:
    draft = workshop / "draft.yaml"
    (workshop / "bad.csv").write_text("distance,carrier,seats\n1,AA,5\nfar,AA,5\n")
    (workshop / "short.csv").write_text("distance,carrier\n1,AA\n")
    (workshop / "rows.txt").write_text("")
    fails(command("fit", draft), "expected either --data FILE or --sql QUERY")
    fails(command("fit", draft, "--sql", "select 1"), "--sql needs --connection")
    fails(command("fit", draft, "--sql", "select", "--connection", f"sqlite:///{workshop}/no.db"), "--sql:")
    fails(command("fit", draft, "--sql", "select 1", "--connection", "nonsense"), "--sql:")
    fails(command("fit", draft, "--data", workshop / "bad.csv"), "rows[1].distance: expected float32, got 'far'")
    fails(command("fit", draft, "--data", workshop / "short.csv"), "seats: the data has no column of this name")
    fails(command("fit", draft, "--data", workshop / "rows.txt"), "expected a file that ends in .csv, .parquet or .jsonl")
    fails(command("fit", workshop / "rows.csv", "--data", workshop / "rows.csv"), "features.yaml")
    fails(command("fit", draft, "--data", workshop / "nothing.csv"), "does not exist")


def test_rows_are_read_from_json_lines_and_csv_of_every_type(workshop: Path) -> None:
    from penstock_cli.table import plain_rows, read_table, typed

    text = """
formatVersion: 1
features:
  - {name: word, from: request, type: string}
  - {name: flag, from: request, type: bool, missing: keep}
  - {name: when, from: request, type: timestamp}
  - {name: many, from: request, type: list<int64>, length: 3}
tensors: {x: [flag]}
"""
    (workshop / "rows.jsonl").write_text('{"word": "007", "flag": true}\n\n{"word": "NA", "flag": null}\n')
    assert plain_rows(read_table(workshop / "rows.jsonl", None)) == [{"word": "007", "flag": True}, {"word": "NA", "flag": None}]
    assert len(read_table(workshop / "rows.jsonl", None, limit=1)) == 1
    (workshop / "types.csv").write_text(
        'word,flag,when,many,extra,note,yes\n007,true,12.5,"[1, 2]",1,a,true\nNA,,2026-01-31,,,b,\n'
    )
    assert plain_rows(read_table(workshop / "types.csv", read_spec(text))) == [
        {"word": "007", "flag": True, "when": 12.5, "many": [1, 2], "extra": 1.0, "note": "a", "yes": True},
        {"word": "NA", "flag": None, "when": "2026-01-31", "many": None, "extra": None, "note": "b", "yes": None},
    ]
    for column, value, said in [
        ("flag", "maybe", r"rows\[0\].flag: expected bool"),
        ("many", "1,2", r"rows\[0\].many: expected list"),
    ]:
        with pytest.raises(InvalidInput, match=said):
            typed(pd.DataFrame({column: [value]}), read_spec(text))
    (workshop / "rows.jsonl").write_text("[1]")
    with pytest.raises(InvalidInput, match=r"rows\[0\]: expected an object"):
        read_table(workshop / "rows.jsonl", None)
    (workshop / "broken.csv").write_text('a,b\n"1,2\n')
    (workshop / "broken.parquet").write_bytes(b"PAR1")
    for name in ("broken.csv", "broken.parquet"):
        with pytest.raises(InvalidInput, match=f"{name}: cannot be read"):
            read_table(workshop / name, None)
