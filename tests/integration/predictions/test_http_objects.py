"""The claim check of a whole server over a real S3: `kill -9` between an object and the row that names it, either way round."""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.testing.flights import serve_flights
from penstock.testing.s3 import S3Server
from penstock.testing.server import ServerProcess
from penstock.testing.shared_servers import started
from penstock.testing.waiting import until
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.objects import open_objects
from penstock_transformer.predictions.port import Filter
from penstock_transformer.predictions.sweep import sweep

SUBMIT = "/models/flights/predictions"
ROWS = {"rows": [{"distance": float(number)} for number in range(40)]}
KEY = {"idempotency-key": "one order"}
WAIT = {"prefer": "wait=20"}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with started(S3Server) as made:
        yield made


def test_an_object_is_there_before_its_row_and_goes_after_it(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--objects", s3.url("claims"), "--inline_bytes", "100")

    def serve(point: str = "", *more: str) -> ServerProcess:
        return serve_flights(tmp_path, *options, *more, env={**s3.environment, "PENSTOCK_FAILPOINTS": point})

    # The input is there and its row is not: nothing was taken, and the caller asks again.
    with serve("object.written=kill@1") as server:
        with pytest.raises(httpx.TransportError):
            submit(server)
        assert server.wait() == -signal.SIGKILL
    assert len(objects(s3)) == 1
    # The result is there and the end is not: the next process makes another.
    with serve("object.written=kill@2") as server:
        with suppress(httpx.TransportError):
            submit(server)
        assert server.wait() == -signal.SIGKILL
    assert len(objects(s3)) == 3
    with serve("", "--objects_sweep_s", "0.2") as server, httpx.Client(base_url=server.url, timeout=30) as http:
        ended = http.get(f"/predictions/{submit(server)['id']}", headers=WAIT).json()
        assert ended["state"] == "succeeded", ended
        assert len(ended["result"]["predictions"]) == len(ROWS["rows"])
        assert http.get(ended["links"]["result"]).json() == ended["result"]
        assert submit(server) == ended
        # An hour later the input that no row names goes; whatever has a row stays.
        grow_old(s3)
        until(lambda: len(objects(s3)) == 3, 30, "the sweep to find what no row names")
        assert http.get(ended["links"]["input"]).json() == ROWS
    with sqlite3.connect(tmp_path / ".penstock" / "predictions.db") as database:
        database.execute("UPDATE penstock_predictions SET expires_s = 1")
    database.close()
    # The row is gone and its objects are not: nor are they for ever.
    assert serve("expire.removed=kill@1").start().wait() == -signal.SIGKILL
    assert len(objects(s3)) == 3
    grow_old(s3)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    assert asyncio.run(swept(f"sqlite:///{tmp_path}/.penstock/predictions.db", s3.url("claims"))) == 3
    assert objects(s3) == []


def objects(s3: S3Server) -> list[Path]:
    """Inputs and results that are kept."""
    return [file for file in s3.files.rglob("*") if file.is_file() and file.name != "penstock-objects"]


def submit(server: ServerProcess) -> Any:
    """The prediction that the key names."""
    answer = httpx.post(f"{server.url}{SUBMIT}", json=ROWS, headers=KEY, timeout=30)
    assert answer.status_code == 202, answer.text
    return answer.json()


def grow_old(s3: S3Server) -> None:
    """Let every object be two hours old."""
    for file in objects(s3):
        moment = time.time() - 2 * 3600
        os.utime(file, (moment, moment))


async def swept(database: str, address: str) -> int:
    """How many objects one sweep removes, of a database in which nothing is."""
    predictions = open_predictions(database)
    await predictions.start()
    try:
        assert not (await predictions.find(Filter(None), 10, None)).predictions
        return await sweep(open_objects(address, most_bytes=10**6, timeout_s=20.0), predictions.existing, result_s=0.0)
    finally:
        await predictions.close()
