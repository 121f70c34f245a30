"""`penstock features load` into every kind of store: twice, killed half way, and begun in one store and ended in another."""

import csv
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

HEADER = ["user", "item", "amount", "count", "name", "event_timestamp"]
ROWS = [
    ["csv-1", 1, 0.5, 10, "Ünïcode", "2024-01-01T00:00:00Z"],
    ["csv-1", 2, "", 20, "", "2024-01-02T00:00:00+01:00"],
    ["csv-1", 1, 0.75, 11, "newer", "2024-01-03 00:00:00"],
]
KEYS = [{"user": "csv-1", "item": 1}, {"user": "csv-1", "item": 2}]
STORED = {"amount": [0.75, None], "count": [11, 20], "name": ["newer", None]}


def write_csv(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def load(feast: Any, repo: Any, *arguments: Any, fails: bool = False) -> dict[str, Any]:
    """What the command says of a load, which fails where rows were rejected."""
    code, output = feast.call("run", str(repo), "load", *map(str, arguments), "--json")
    assert (code != 0) is fails, output
    found: dict[str, Any] = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    return found


def test_a_file_loaded_twice_changes_nothing_in_any_store(online: Any, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "rows.csv", [HEADER, *ROWS])
    first = load(online.feast, online.repo, "by_two", "--csv", file)
    assert (first["read"], first["written"], first["unchanged"], first["rejected"]) == (3, 3, 0, 0)
    values, times = online.feast_read("by_two", KEYS, ["amount", "count", "name"])
    assert values == STORED
    second = load(online.feast, online.repo, "by_two", "--csv", file)
    assert (second["written"], second["unchanged"], second["history_rows"]) == (0, 3, 0)
    assert online.feast_read("by_two", KEYS, ["amount", "count", "name"]) == (values, times)


def test_a_query_of_a_database_fills_any_store(online: Any, postgres_server: Any) -> None:
    """The database is PostgreSQL, whose numbers, times and keys come as Python's own types."""
    rows = (
        "SELECT * FROM (VALUES ('sql-1', 1::bigint, 0.5::numeric, 10::smallint, 'Ünïcode', timestamptz '2024-01-01T00:00Z'), "
        "('sql-1', 2, NULL, NULL, NULL, '2024-01-01T00:00Z'), ('sql-1', 3, 1.5, 3, 'x', NULL)"
        ') AS found("user", item, amount, count, name, event_timestamp) ORDER BY item'
    )
    connection = postgres_server.url().replace("postgresql://", "postgresql+psycopg://")
    found = load(online.feast, online.repo, "by_two", "--sql", rows, "--connection", connection, fails=True)
    assert (found["read"], found["written"], found["rejected"]) == (3, 2, 1)
    keys = [{"user": "sql-1", "item": item} for item in (1, 2, 3)]
    values, _ = online.feast_read("by_two", keys, ["amount", "count", "name"])
    assert values == {"amount": [0.5, None, None], "count": [10, None, None], "name": ["Ünïcode", None, None]}


@pytest.fixture
def shop(feast: Any, tmp_path: Path) -> Path:
    """A repository with an SQLite store, and 2,000 rows for it of which the fourth is bad, as `items.csv`."""
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "definitions.py").write_text((Path(__file__).parent / "definitions.py").read_text())
    (folder / "feature_store.yaml").write_text(
        "project: shop\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store: {type: file}\nonline_store: {type: sqlite, path: online.db}\n"
    )
    feast.call("apply", str(folder))
    rows: list[list[Any]] = [[n, n / 2, n, f"n{n}", "2024-01-01"] for n in range(2000)]
    rows[3][1] = "bad"
    write_csv(folder / "items.csv", [["item", "amount", "count", "name", "event_timestamp"], *rows])
    return folder


def stored(file: Path) -> int:
    """Entities in an SQLite store."""
    with closing(sqlite3.connect(file)) as connection:
        (count,) = connection.execute("SELECT count(DISTINCT entity_key) FROM shop_by_int64").fetchone()
    return int(count)


@pytest.mark.parametrize("way", ["interrupted_load", "killed_load"])
def test_an_interrupted_load_goes_on(shop: Path, feast: Any, way: str) -> None:
    file = shop / "items.csv"
    ended = feast.call(way, str(shop), 3, "by_int64", "--csv", str(file))
    assert ended == signal.SIGKILL if way == "killed_load" else "interrupted" in ended
    assert 0 < stored(shop / "online.db") < 1999
    found = load(feast, shop, "by_int64", "--csv", file, fails=True)
    assert 0 < found["resumed_at"] < 2000
    assert (found["read"], found["rejected"], found["history_rows"]) == (2000, 1, 1999)
    assert stored(shop / "online.db") == 1999
    assert pq.read_table(shop / "data/by_int64.parquet").num_rows == 1999
    assert len((shop / "by_int64.rejects.csv").read_text().splitlines()) == 2
    assert not list((shop / ".penstock/loads").iterdir())


def test_what_one_store_got_is_not_taken_for_what_another_has(shop: Path, feast: Any) -> None:
    """Nor is a load as of another time, or without the history, the rest of one that was interrupted."""
    file, other = shop / "items.csv", shop / "other.db"
    with closing(sqlite3.connect(shop / "online.db")) as one, closing(sqlite3.connect(other)) as two:
        one.backup(two)
    assert "interrupted" in feast.call("interrupted_load", str(shop), 3, "by_int64", "--csv", str(file))
    found = load(feast, shop, "by_int64", "--csv", file, "--feature_store", f"sqlite:///{other}", fails=True)
    assert (found["resumed_at"], found["written"]) == (0, 1999)
    assert stored(other) == 1999
    assert "interrupted" in feast.call("interrupted_load", str(shop), 3, "by_int64", "--csv", str(file), "--online-only")
    found = load(feast, shop, "by_int64", "--csv", file, fails=True)
    assert (found["read"], found["history_rows"]) == (2000, 0)
    assert pq.read_table(shop / "data/by_int64.parquet").num_rows == 1999


@pytest.mark.parametrize(
    "change", ["", "DELETE FROM items WHERE item = 5", "INSERT INTO items VALUES (-1, 0, 0, 'new', '2024-01-01')"]
)
def test_a_query_whose_rows_have_shifted_is_begun_anew(shop: Path, feast: Any, change: str) -> None:
    """Counted off, the rows that were done would hide one that was not."""
    with closing(sqlite3.connect(shop / "company.db")) as company:
        company.execute("CREATE TABLE items (item INTEGER, amount REAL, count INTEGER, name TEXT, event_timestamp TEXT)")
        company.executemany("INSERT INTO items VALUES (?, 1, 1, 'x', '2024-01-01')", [(n,) for n in range(2000)])
        company.commit()
        query = ("by_int64", "--sql", "SELECT * FROM items ORDER BY item", "--connection", f"sqlite:///{shop}/company.db")
        assert "interrupted" in feast.call("interrupted_load", str(shop), 3, *query)
        if change:
            company.execute(change)
            company.commit()
        (count,) = company.execute("SELECT count(*) FROM items").fetchone()
        items = {item for (item,) in company.execute("SELECT item FROM items")}
    found = load(feast, shop, *query)
    assert (found["resumed_at"] > 0, found["read"]) == (not change, count)
    values, _ = feast.call("read", str(shop), "by_int64", [{"item": item} for item in sorted(items)], ["name"])
    assert None not in values["name"]


def test_a_view_that_has_changed_keeps_its_history(shop: Path, feast: Any) -> None:
    """A feature that is new has no older values; one whose values cannot be of its new type is named."""
    header, row = ["item", "amount", "count", "name", "event_timestamp"], [1, 0.5, 10, "first", "2024-01-01"]
    load(feast, shop, "by_int64", "--csv", write_csv(shop / "one.csv", [header, row]))
    definitions = shop / "definitions.py"
    text = definitions.read_text()
    definitions.write_text(text.replace("plain = [", 'plain = [Field(name="more", dtype=t.Int64), '))
    assert feast.call("run", str(shop), "apply")[0] == 0
    more = write_csv(shop / "two.csv", [["more", *header], [7, 2, 1.5, 20, "second", "2024-01-02"]])
    assert load(feast, shop, "by_int64", "--csv", more)["history_rows"] == 1
    assert pq.read_table(shop / "data/by_int64.parquet")["more"].to_pylist() == [None, 7]
    definitions.write_text(text.replace('name="name", dtype=t.String', 'name="name", dtype=t.Int64'))
    assert feast.call("run", str(shop), "apply")[0] == 0
    file = write_csv(shop / "three.csv", [header, [3, 1, 1, 1, "2024-01-03"]])
    code, output = feast.call("run", str(shop), "load", "by_int64", "--csv", str(file))
    assert (code, "name: " in output, "by_int64.parquet holds values that are no int64" in output) == (1, True, True), output
