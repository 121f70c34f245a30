"""SQLite's event times on a machine whose clock is not UTC: what Feast's own conversion makes of them there."""

import time
from datetime import UTC, datetime

import pytest

from penstock_transformer.store import sqlite_file


@pytest.fixture(params=["America/New_York", "Asia/Kolkata", "UTC"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    monkeypatch.setattr(sqlite_file, "_ZONED", True)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("moment", [0.0, 1_700_000_000.0, 1_720_000_000.5, -86_400.0])
def test_stamps_are_feasts(zone, moment):
    naive = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)
    stamp = sqlite_file._stamp(moment)
    assert stamp == int(naive.timestamp() // 1)
    assert sqlite_file._seconds(stamp) == moment // 1


def test_texts_of_old_files_are_utc(zone):
    assert sqlite_file._seconds("2024-01-01 00:00:00") == 1_704_067_200.0
    assert sqlite_file._seconds("2024-01-01T01:00:00+01:00") == 1_704_067_200.0
