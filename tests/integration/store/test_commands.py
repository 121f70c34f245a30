"""`penstock features` on a repository of its own: apply, load, show, training-set, and the stamp, with Feast as the judge."""

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq

HERE = Path(__file__).parent
GOOD = [
    ["item", "amount", "count", "name", "extra", "event_timestamp"],
    [1, 0.5, 10, "Ünïcode, quoted", "x", "2024-01-01T00:00:00Z"],
    [2, "", 20, "", "x", "2024-01-02T00:00:00+01:00"],
    [1, 0.75, 11, "newer", "x", "2024-01-03 00:00:00"],
]


def test_load_csv_twice_changes_nothing(shop, tmp_path):
    file = shop.write_csv(tmp_path / "items.csv", GOOD)
    first = shop.load("by_int64", "--csv", file)
    assert (first["read"], first["written"], first["unchanged"], first["rejected"], first["history_rows"]) == (3, 3, 0, 0, 3)
    history = shop.folder / "data/by_int64.parquet"
    before = history.read_bytes()
    second = shop.load("--view", "by_int64", "--csv", file)
    assert (second["written"], second["unchanged"], second["history_rows"]) == (0, 3, 0)
    assert history.read_bytes() == before
    assert shop.feast_read("by_int64", [{"item": 1}, {"item": 2}], ["amount", "count", "name"]) == {
        "amount": [0.75, None],
        "count": [11, 20],
        "name": ["newer", None],
    }
    table = pq.read_table(history)
    assert table.column_names == ["item", "amount", "count", "name", "event_timestamp"]
    assert table.num_rows == 3
    assert not (tmp_path / "by_int64.rejects.csv").exists()


def test_bad_rows_go_to_the_reject_file_with_line_and_reason(shop, tmp_path):
    rows = [
        GOOD[0],
        GOOD[1],
        ["x", 1, 1, "bad key", "", "2024-01-01"],
        ["", 1, 1, "no key", "", "2024-01-01"],
        [5, "many", 1, "bad number", "", "2024-01-01"],
        [5, 1, 1.5, "not whole", "", "2024-01-01"],
        [5, 1, 2**63, "too large", "", "2024-01-01"],
        [5, 1, 1, "bad time", "", "yesterday"],
        [5, 1, 1, "short"],
        [6, 1, 1, "line\nbreak", "", "1704067200"],
    ]
    file = shop.write_csv(tmp_path / "items.csv", rows)
    with file.open("ab") as raw:
        raw.write(b"7,1,1,\xff\xfe,x,2024-01-01\r\n")
    rejects = tmp_path / "out/rejects.csv"
    found, output = shop.load_some("by_int64", "--csv", file, "--rejects", rejects)
    assert f"8 of 10 rows were rejected; the reasons are in {rejects}" in output
    assert (found["read"], found["written"], found["rejected"]) == (10, 2, 8)
    with rejects.open(encoding="utf-8", errors="surrogateescape", newline="") as opened:
        lines = list(csv.reader(opened))
    assert lines[0] == ["line", "reason", *GOOD[0]]
    reasons = {int(line): reason for line, reason, *_ in lines[1:]}
    assert sorted(reasons) == [3, 4, 5, 6, 7, 8, 9, 12]
    for line, words in {
        3: "item",
        4: "item: a key",
        5: "amount: expected a number",
        6: "count",
        7: "count",
        8: "time",
        9: "6 columns",
    }.items():
        assert words in reasons[line]
    assert "name" in reasons[12]
    assert shop.feast_read("by_int64", [{"item": 6}], ["name"]) == {"name": ["line\nbreak"]}


def test_a_file_of_which_nothing_fits_fails(shop, tmp_path):
    file = shop.write_csv(tmp_path / "items.csv", [GOOD[0], ["x", *GOOD[1][1:]]])
    assert "every row was rejected" in shop.fails("load", "by_int64", "--csv", file)


def test_load_sql_types_and_renames(shop, tmp_path):
    database = tmp_path / "company.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE items (item INTEGER, amount REAL, count NUMERIC, name TEXT, seen TEXT)")
        connection.executemany(
            "INSERT INTO items VALUES (?, ?, ?, ?, ?)",
            [
                (1, 2, 3.0, "a", "2024-01-01T00:00:00Z"),
                (2, None, None, None, "2024-01-01T00:00:00Z"),
                (3, 1.5, 2.5, "c", "2024-01-01"),
            ],
        )
        connection.commit()
    query = "SELECT item, amount, count, name, seen AS event_timestamp FROM items ORDER BY item"
    found, _ = shop.load_some("by_int64", "--sql", query, "--connection", f"sqlite:///{database}")
    assert (found["read"], found["written"], found["rejected"]) == (3, 2, 1)
    values = shop.feast_read("by_int64", [{"item": 1}, {"item": 2}, {"item": 3}], ["amount", "count", "name"])
    assert values == {"amount": [2.0, None, None], "count": [3, None, None], "name": ["a", None, None]}
    assert "--sql" in shop.fails("load", "by_int64", "--sql", "SELECT nonsense", "--connection", f"sqlite:///{database}")
    assert "--connection" in shop.fails("load", "by_int64", "--sql", query)


def test_load_says_what_is_wrong_with_the_whole(shop, tmp_path):
    file = shop.write_csv(tmp_path / "items.csv", [row[:-1] for row in GOOD])
    assert "--event-time" in shop.fails("load", "by_int64", "--csv", file)
    assert shop.load("by_int64", "--csv", file, "--event-time", "2024-05-01")["written"] == 2
    assert "by_nothing" in shop.fails("load", "by_nothing", "--csv", file)
    assert "on-demand" in shop.fails("load", "on_demand", "--csv", file)
    assert "online=False" in shop.fails("load", "offline_only", "--csv", file)
    assert "no column 'item'" in shop.fails("load", "by_int64", "--csv", shop.write_csv(tmp_path / "b.csv", [["a"], [1]]))
    twice = shop.write_csv(tmp_path / "d.csv", [[*GOOD[0], "amount"], [*GOOD[1], 9.5]])
    assert "2 columns are called 'amount'" in shop.fails("load", "by_int64", "--csv", twice)
    assert "header" in shop.fails("load", "by_int64", "--csv", shop.write_csv(tmp_path / "c.csv", []))
    before = file.read_bytes()
    assert "overwrite" in shop.fails("load", "by_int64", "--csv", file, "--rejects", file)
    assert file.read_bytes() == before
    assert "one of" in shop.fails("load", "by_int64")
    assert "feature_store.yaml" in shop.fails("load", "by_int64", "--csv", file, "--repo", tmp_path)


def test_show(shop, tmp_path):
    shop.run("load", "by_int64", "--csv", shop.write_csv(tmp_path / "items.csv", GOOD))
    text = shop.run("show", "by_int64", "--key", "item=1")
    assert "2024-01-03 00:00:00+00:00" in text
    assert "days old" in text
    found = json.loads(shop.run("show", "by_int64", "--key", "2", "--json"))
    assert found["values"] == {"amount": None, "count": 20, "name": None}
    assert found["age_s"] > 0
    assert {json.loads(line)["item"] for line in shop.run("show", "by_int64").splitlines()} == {1, 2}
    assert "holds nothing" in shop.fails("show", "by_int64", "--key", "item=99")
    assert "whole number" in shop.fails("show", "by_int64", "--key", "item=x")
    assert "'user'" in shop.fails("show", "by_two", "--key", "item=1")


def test_apply_refuses_what_is_no_repository(shop, tmp_path):
    assert "feature_store.yaml" in shop.fails("apply", "--repo", tmp_path)
    (shop.folder / "definitions.py").write_text("this is not python")
    assert "cannot apply" in shop.fails("apply")


def test_every_type_through_csv_show_and_history(shop, tmp_path):
    text = {
        "bytes": "AP8=", "string": "ü", "int32": "-7", "int64": "5", "double": "0.1", "float": "0.5", "bool": "true",
        "time": "2024-02-29T12:30:15Z", "uuid": "00000000-0000-0000-0000-000000000001", "decimal": "1.50", "json": '{"a": 1}',
        "int64_list": "[1, 2]", "string_list": '["a", "ü"]', "time_list": '["2024-01-01T00:00:00Z"]', "float_set": "[0.5]",
        "map": '{"a": 1}', "nested": "[[1], [2, 3]]", "image": "iVBO", "zoned": "2024-02-29T12:30:15+01:00",
    }  # fmt: skip
    names = list(shop._feast.call("stamp", str(shop.folder), ["every_type"]).views["every_type"].values)
    file = shop.write_csv(
        tmp_path / "all.csv",
        [["user", *names, "event_timestamp"], ["ann", *[text.get(name, "") for name in names], "2024-03-01T00:00:00Z"]],
    )
    found = shop.load("every_type", "--csv", file)
    assert (found["written"], found["rejected"], found["history_rows"]) == (1, 0, 1)
    values = json.loads(shop.run("show", "every_type", "--key", "user=ann", "--json"))["values"]
    assert values["bytes"] == "AP8="
    assert values["bool"] is True
    assert values["time"] == 1709209815.0
    assert values.get("zoned") == (1709206215.0 if "zoned" in names else None)
    assert values["int64_list"] == [1, 2]
    assert values["map"] == {"a": 1}
    assert values["nested"] == [[1], [2, 3]]
    assert values["struct"] is None
    assert shop.feast_read("every_type", [{"user": "ann"}], ["int32", "decimal", "string_list"])["int32"] == [-7]
    (row,) = pq.read_table(shop.folder / "data/every_type.parquet").to_pylist()
    assert (row["int64_list"], row["string"], row["map"]) == ([1, 2], "ü", '{"a": 1}')
