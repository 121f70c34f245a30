"""`penstock features` on a repository of its own: apply, load, show, training-set, and the stamp, with Feast as the judge."""

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

HERE = Path(__file__).parent
SPEC = """
formatVersion: 1
sets:
  items: {view: by_int64, keys: {item: item_id}, maxAge: 1d}
features:
  - {name: price, from: request, type: float64, missing: reject, encode: passthrough}
  - {name: amount, from: items.amount, type: float64, missing: {default: -1.0}, encode: passthrough}
  - {name: count, from: items.count, type: int64, missing: {default: 0}, encode: {cast: {to: float64}}}
tensors: {x: [price, amount, count]}
"""


class Shop:
    """A repository and commands run in it."""

    def __init__(self, folder: Path, feast: Any) -> None:
        self.folder = folder
        self._feast = feast

    def run(self, *arguments: Any) -> str:
        code, output = self._feast.call("run", str(self.folder), *map(str, arguments))
        assert code == 0, output
        return output

    def fails(self, *arguments: Any) -> str:
        code, output = self._feast.call("run", str(self.folder), *map(str, arguments))
        assert code != 0
        assert "Traceback" not in output
        return output

    def load_some(self, *arguments: Any) -> tuple[dict[str, Any], str]:
        """A load with rejected rows: it fails, after it has said what it did."""
        output = self.fails("load", *arguments, "--json")
        line = next(line for line in output.splitlines() if line.startswith("{"))
        return json.loads(line), output

    def load(self, *arguments: Any) -> dict[str, Any]:
        return json.loads(self.run("load", *arguments, "--json").splitlines()[-1])

    def feast_read(self, view: str, keys: list[dict[str, Any]], features: list[str]) -> dict[str, list[Any]]:
        return self._feast.call("read", str(self.folder), view, keys, features)[0]

    def stamp(self, text: str) -> Any:
        return self._feast.call("stamp_spec", str(self.folder), text)


@pytest.fixture
def shop(tmp_path: Path, feast: Any) -> Shop:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "definitions.py").write_text((HERE / "definitions.py").read_text())
    (folder / "feature_store.yaml").write_text(
        "project: shop\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store: {type: file}\nonline_store: {type: sqlite, path: online.db}\n"
    )
    found = Shop(folder, feast)
    assert "by_int64" in found.run("apply")
    return found


def write_csv(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


GOOD = [
    ["item", "amount", "count", "name", "extra", "event_timestamp"],
    [1, 0.5, 10, "Ünïcode, quoted", "x", "2024-01-01T00:00:00Z"],
    [2, "", 20, "", "x", "2024-01-02T00:00:00+01:00"],
    [1, 0.75, 11, "newer", "x", "2024-01-03 00:00:00"],
]


def test_load_csv_twice_changes_nothing(shop, tmp_path):
    file = write_csv(tmp_path / "items.csv", GOOD)
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
    file = write_csv(tmp_path / "items.csv", rows)
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
    file = write_csv(tmp_path / "items.csv", [GOOD[0], ["x", *GOOD[1][1:]]])
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
    file = write_csv(tmp_path / "items.csv", [row[:-1] for row in GOOD])
    assert "--event-time" in shop.fails("load", "by_int64", "--csv", file)
    assert shop.load("by_int64", "--csv", file, "--event-time", "2024-05-01")["written"] == 2
    assert "by_nothing" in shop.fails("load", "by_nothing", "--csv", file)
    assert "on-demand" in shop.fails("load", "on_demand", "--csv", file)
    assert "online=False" in shop.fails("load", "offline_only", "--csv", file)
    assert "no column 'item'" in shop.fails("load", "by_int64", "--csv", write_csv(tmp_path / "b.csv", [["a"], [1]]))
    assert "header" in shop.fails("load", "by_int64", "--csv", write_csv(tmp_path / "c.csv", []))
    before = file.read_bytes()
    assert "overwrite" in shop.fails("load", "by_int64", "--csv", file, "--rejects", file)
    assert file.read_bytes() == before
    assert "one of" in shop.fails("load", "by_int64")
    assert "feature_store.yaml" in shop.fails("load", "by_int64", "--csv", file, "--repo", tmp_path)


def test_show(shop, tmp_path):
    shop.run("load", "by_int64", "--csv", write_csv(tmp_path / "items.csv", GOOD))
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


def test_the_stamp_names_what_it_cannot_use(shop):
    layout = shop.stamp(SPEC)
    assert (layout.project, layout.key_serialization) == ("shop", 3)
    assert layout.views["by_int64"].keys == {"item": "int64"}
    assert layout.views["by_int64"].values == {"amount": "double", "count": "int64", "name": "string"}
    for wrong, words in {
        SPEC.replace("by_int64", "nothing"): "no feature view",
        SPEC.replace("by_int64", "on_demand"): "on-demand",
        SPEC.replace("by_int64", "offline_only"): "online=False",
        SPEC.replace("{item: item_id}", "{user: item_id}"): "keyed by",
        SPEC.replace("items.amount", "items.colour"): "no column 'colour'",
    }.items():
        with pytest.raises(RuntimeError, match=words):
            shop.stamp(wrong)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_training_set_is_as_of_each_rows_time(shop, tmp_path, suffix):
    rows = [
        GOOD[0],
        [1, 10.0, 1, "first", "", "2024-01-01T00:00:00Z"],
        [1, 20.0, 2, "second", "", "2024-01-05T00:00:00Z"],
        [2, 30.0, 3, "other", "", "2024-01-01T00:00:00Z"],
    ]
    assert shop.load("by_int64", "--csv", write_csv(tmp_path / "items.csv", rows))["history_rows"] == 3
    (shop.folder / "features.yaml").write_text(SPEC)
    wanted = write_csv(
        tmp_path / "rows.csv",
        [
            ["price", "item_id", "event_timestamp", "late"],
            [1.0, 1, "2024-01-05T06:00:00Z", 1],  # the second value
            [2.0, 1, "2024-01-01T06:00:00Z", 0],  # the first, though a later one is known today
            [3.0, 2, "2024-01-03T00:00:00Z", 1],  # older than maxAge: missing, as it would be in serving
            [4.0, 99, "2024-01-03T00:00:00Z", 0],  # unknown
            [5.0, "", "2024-01-03T00:00:00Z", 0],  # no key
            ["", 1, "2024-01-05T06:00:00Z", 1],  # refused in serving: left out
        ],
    )
    out = tmp_path / f"out.{suffix}"
    text = shop.run("training-set", "--rows", wanted, "--label", "late", "--out", out)
    assert "5 rows" in text
    assert "1 left out" in text
    if suffix == "npz":
        with np.load(out) as arrays:
            x, late = arrays["x"], arrays["late"]
    else:
        table = pq.read_table(out)
        x, late = np.array(table["x"].to_pylist()), np.array(table["late"].to_pylist())
    assert x.tolist() == [[1.0, 20.0, 2.0], [2.0, 10.0, 1.0], [3.0, -1.0, 0.0], [4.0, -1.0, 0.0], [5.0, -1.0, 0.0]]
    assert late.tolist() == [1, 0, 1, 0, 0]
    assert "--label" in shop.fails("training-set", "--rows", wanted, "--label", "nothing", "--out", out)
    assert "--time" in shop.fails("training-set", "--rows", wanted, "--time", "when", "--out", out)


def test_apply_refuses_what_is_no_repository(shop, tmp_path):
    assert "feature_store.yaml" in shop.fails("apply", "--repo", tmp_path)
    (shop.folder / "definitions.py").write_text("this is not python")
    assert "cannot apply" in shop.fails("apply")


RECORD_SPEC = """
formatVersion: 1
record: {set: orders, key: user}
sets:
  orders: {view: by_string, keys: {user: user}}
  items: {view: by_int64, keys: {item: count}}
features:
  - {name: amount, from: request, type: float64, missing: {default: -1.0}, encode: passthrough}
  - {name: price, from: items.amount, type: float64, missing: {default: -2.0}, encode: passthrough}
  - {name: stock, from: items.count, type: int64, maxAge: 1h, missing: {default: -3}, encode: {cast: {to: float64}}}
tensors: {x: [amount, price, stock]}
"""


def test_training_set_fills_keys_and_features_from_the_record(shop, tmp_path):
    header = ["user", "amount", "count", "name", "event_timestamp"]
    orders = [header, ["ann", 5.0, 1, "", "2024-01-01T00:00:00Z"], ["bob", "", 2, "", "2024-01-01T00:00:00Z"]]
    items = [["item", *header[1:]], [1, 10.0, 7, "", "2024-01-01T00:00:00Z"], [2, 20.0, 8, "", "2024-01-01T00:00:00Z"]]
    shop.run("load", "by_string", "--csv", write_csv(tmp_path / "orders.csv", orders))
    shop.run("load", "by_int64", "--csv", write_csv(tmp_path / "items.csv", items))
    (shop.folder / "features.yaml").write_text(RECORD_SPEC)
    rows = [
        ["user", "amount", "event_timestamp"],
        ["ann", "", "2024-01-01T00:30:00Z"],  # everything through the record
        ["ann", 6.0, "2024-01-01T02:00:00Z"],  # the row's own value wins; stock is older than its feature's maxAge
        ["bob", "", "2024-01-01T00:30:00Z"],
        ["eve", "", "2024-01-01T00:30:00Z"],  # no record, so no key for the item either
    ]
    out = tmp_path / "out.npz"
    shop.run("training-set", "--rows", write_csv(tmp_path / "rows.csv", rows), "--out", out)
    with np.load(out) as arrays:
        found = arrays["x"].tolist()
    assert found == [[5.0, 10.0, 7.0], [6.0, 10.0, -3.0], [-1.0, 20.0, 8.0], [-1.0, -2.0, -3.0]]


def test_every_type_through_csv_show_and_history(shop, tmp_path):
    text = {
        "bytes": "AP8=", "string": "ü", "int32": "-7", "int64": "5", "double": "0.1", "float": "0.5", "bool": "true",
        "time": "2024-02-29T12:30:15Z", "uuid": "00000000-0000-0000-0000-000000000001", "decimal": "1.50", "json": '{"a": 1}',
        "int64_list": "[1, 2]", "string_list": '["a", "ü"]', "time_list": '["2024-01-01T00:00:00Z"]', "float_set": "[0.5]",
        "map": '{"a": 1}', "nested": "[[1], [2, 3]]", "image": "iVBO", "zoned": "2024-02-29T12:30:15+01:00",
    }  # fmt: skip
    names = list(shop._feast.call("stamp", str(shop.folder), ["every_type"]).views["every_type"].values)
    file = write_csv(
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
