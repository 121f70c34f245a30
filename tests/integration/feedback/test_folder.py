"""From a real `penstock serve` to a folder and back: logged, told, judged, replayed, deleted; and what a crash leaves."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from penstock.serving.security.keys import new_key
from penstock.serving.security.scopes import read_scope
from penstock.testing.flights import FLIGHTS, serve_flights, write_flights
from penstock.testing.waiting import until
from penstock_cli.__main__ import penstock
from penstock_transformer.feedback.deleting import delete
from penstock_transformer.feedback.folder import OUTCOMES, PREDICTIONS, LogFolder
from penstock_transformer.feedback.keeping import LogKeeper
from penstock_transformer.feedback.outcome import Outcome

WAIT_S = 60.0
SCOPES = {"ann": "predict:flights", "bob": "predict:flights", "eve": "read:*", "root": "admin"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Place:
    """One server, a client for each key, and the log that it writes."""

    def __init__(self, url: str, folder: Path, keys: dict[str, str]) -> None:
        self.url, self.folder, self.log = url, folder, folder / "log"
        self.http = {
            name: httpx.Client(base_url=url, timeout=30, headers={"authorization": f"Bearer {key}"}) for name, key in keys.items()
        }

    def predict(self, *rows: dict[str, Any], model: str = "flights", caller: str = "root") -> str:
        answer = self.http[caller].post(f"/models/{model}/predict", json={"rows": list(rows)})
        assert answer.status_code == 200, answer.text
        return answer.headers["x-request-id"]

    def tell(self, identity: str, caller: str = "root", **outcome: Any) -> httpx.Response:
        return self.http[caller].post(f"/predictions/{identity}/outcome", json={"model": "flights", **outcome})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("feedback")
    made: dict[str, Any] = {name: new_key(name, frozenset({read_scope(scope)})) for name, scope in SCOPES.items()}
    file = folder / "keys"
    file.write_text("".join(f"{key.line()}\n" for _, key in made.values()))
    file.chmod(0o600)
    options = ("--api_keys", str(file), "--log_rate", "1", "--log_dir", str(folder / "log"), "--log_part_s", "0.3")
    with serve_flights(folder, *options) as server:
        place = Place(server.url, folder, {name: text for name, (text, _) in made.items()})
        record = {"values": {"distance": 500.5, "carrier": "UA", "tailnum": "N1", "leaves": 1.5e9}}
        assert place.http["root"].put("/records/f1?model=flights", json=record).status_code == 201
        yield place
        for client in place.http.values():
            client.close()


def command(*arguments: object) -> tuple[int, str]:
    found = CliRunner().invoke(penstock, [str(argument) for argument in arguments])
    return found.exit_code, found.output


def test_every_way_in_is_logged_and_comes_out_bit_for_bit(place: Place, logged: Any) -> None:
    http = place.http["root"]
    first = place.predict(
        {"distance": 123.456, "carrier": "UA"}, {"flight_id": "f1"}, {"distance": 7.0, "leaves": 1.7e9, "tailnum": "N9"}
    )
    assert http.get("/predict/f1?model=flights").status_code == 200
    inputs = [
        {"name": "distance", "datatype": "FP32", "shape": [2], "data": [0.1, 3.3e8]},
        {"name": "carrier", "datatype": "BYTES", "shape": [2], "data": ["AA", "é"]},
    ]
    assert http.post("/v2/models/flights/infer", json={"inputs": inputs}).status_code == 200
    later = http.post("/models/flights/predictions", json={"rows": [{"distance": 9.25}]}, headers={"prefer": "wait=30"}).json()
    assert later["state"] == "succeeded", later
    picture_id = place.predict({"picture": PIXEL}, model="pictures")
    rows = logged(place.log, "flights", first, later["id"])
    assert [row.record for row in rows] == [None, "f1", None, None]
    stored = rows[1].stored()
    assert stored["flights"].values["distance"] == 500.5
    assert stored["flights"].time is not None
    assert stored["planes"].key == ["N1"]
    (picture,) = logged(place.log, "pictures", picture_id)
    assert base64.b64decode(picture.sent()["picture"]) == base64.b64decode(PIXEL)
    for model in ("flights", "pictures"):
        status, said = command("replay", place.log, "--model", model, "--bundle", place.folder / model)
        assert (status, "bit for bit" in said) == (0, True), said


def test_answers_of_a_store_that_was_away_come_out_as_they_were(tmp_path: Path, logged: Any) -> None:
    log = tmp_path / "log"
    with serve_flights(tmp_path, "--log_rate", "1", "--log_dir", str(log), "--log_part_s", "0.3") as server:
        gone = (tmp_path / "online.db").rename(tmp_path / "gone.db")
        # The second lacks what a record would have filled in.
        rows = {"rows": [{"distance": 3.5, "tailnum": "N1", "carrier": "UA", "stops": 1, "leaves": 1.5e9}, {"distance": 7.0}]}
        answer = httpx.post(f"{server.url}/models/flights/predict", json=rows, timeout=30)
        assert [one["degraded"] for one in answer.json()["predictions"]] == [True, True]
        found = logged(log, "flights", answer.headers["x-request-id"])
        assert [row.degraded for row in found] == [True, True]
        gone.rename(tmp_path / "online.db")
    status, said = command("replay", log, "--model", "flights", "--bundle", tmp_path / "flights")
    assert (status, "2 rows come out as they were logged, bit for bit" in said) == (0, True), said
    # Another bundle finds no store then, either: one that refuses to go without is not said to have read something else.
    strict = FLIGHTS.replace("missing: {default: 149}", "missing: reject")
    other = write_flights(tmp_path / "strict", features=strict)
    status, said = command("bundle", "verify", other, "--against", log, "--model", "flights")
    assert (status, "seats" in said, "did not read it" in said) == (1, True, False), said


def test_another_bundle_differs_and_the_field_is_named(place: Place, logged: Any, tmp_path: Path) -> None:
    logged(place.log, "flights", place.predict({"distance": 3.5}))
    other = write_flights(tmp_path / "other", features=FLIGHTS.replace("std: 50.0", "std: 20.0"))
    status, said = command("replay", place.log, "--model", "flights", "--bundle", other)
    assert (status, "has no prediction of flights@" in said) == (1, True), said
    status, said = command("bundle", "verify", other, "--against", place.log, "--model", "flights", "--json")
    assert status == 0, said
    found = json.loads(said)["against"]
    assert found["rows"] > 0
    assert "scores.on time: logged" in found["first"]
    assert found["meanDifference"] > 0
    status, said = command(
        "bundle", "verify", other, "--against", place.log, "--model", "flights", "--least-agreement", "1", "--limit", "3"
    )
    assert "labels:" in said
    more = write_flights(
        tmp_path / "more", features=FLIGHTS.replace("planes.seats", "planes.rows").replace("seats: int64}}", "rows: int64}}")
    )
    status, said = command("bundle", "verify", more, "--against", place.log, "--model", "flights")
    assert (status, "planes.rows: is not in the log" in said) == (1, True), said


def test_outcomes_are_joined_and_the_last_counts(place: Place, logged: Any) -> None:
    identity = place.predict({"distance": 3.5}, {"distance": 4.5})
    assert place.tell(identity, label="on time", time=1000).status_code == 202
    assert place.tell(identity, label="late", time=2000).json() == {
        "id": identity, "model": "flights", "row": 0, "time": 2000.0, "label": "late",
    }  # fmt: skip
    assert place.tell(identity, label="on time", time=1500).status_code == 202
    assert place.tell(identity, label="late", time=2000, row=1).status_code == 202
    assert place.tell("never-was", label="late").status_code == 202
    logged(place.log, "flights", identity)
    outcomes = LogFolder(place.log, "flights").outcomes()
    assert outcomes[identity, 0].label == "late"
    assert outcomes[identity, 1].label == "late"
    status, said = command("feedback", "quality", place.log, "--model", "flights", "--json")
    assert status == 0, said
    (found,) = json.loads(said)["bundles"]
    assert (found["rows"], found["accuracy"]) == (2, 1.0)
    assert place.tell(identity, label="Late", time=3000).status_code == 202
    said = command("feedback", "quality", place.log, "--model", "flights")[1]
    assert "accuracy 1.0000" in said
    assert "left out: 1 with the outcome 'Late'" in said


def test_whose_outcomes_may_be_told(place: Place) -> None:
    mine = place.http["ann"].post("/models/flights/predictions", json={"rows": [{"distance": 1.0}]}).json()["id"]
    for caller, status in (("ann", 202), ("root", 202), ("bob", 404), ("eve", 404)):
        assert place.tell(mine, caller, label="late").status_code == status, caller
    wrong = place.tell(mine, "ann", label="late", model="pictures")
    assert (wrong.status_code, wrong.json()["field"]) == (400, "model")
    at_once = place.predict({"distance": 1.0}, caller="ann")
    for caller, status in (("ann", 202), ("bob", 202), ("eve", 403)):
        assert place.tell(at_once, caller, label="late").status_code == status, caller
    assert place.tell(at_once, label="late", model="other").json()["field"] == "model"
    assert place.tell(at_once, lable="late").json()["field"] == "lable"
    assert httpx.post(f"{place.url}/predictions/{at_once}/outcome", json={"label": "late"}).status_code == 401


def test_a_records_rows_are_deleted_and_stay_so(place: Place, logged: Any) -> None:
    record = {"values": {"distance": 2.0, "carrier": "UA"}}
    assert place.http["root"].put("/records/second?model=flights", json=record).status_code == 201
    rows: tuple[dict[str, Any], ...] = ({"flight_id": "second"}, {"distance": 1.0})
    before = place.predict(*rows)
    for row in (0, 1):
        assert place.tell(before, label="late", row=row).status_code == 202
    logged(place.log, "flights", before)
    assert command("feedback", "delete", place.log, "--model", "flights") == (2, mock.ANY)
    status, said = command("feedback", "delete", place.log, "--model", "flights", "--record", "second")
    assert status == 0, said
    folder = LogFolder(place.log, "flights")
    # Wherever the outcome lies still, or comes from later; the other row keeps its own.
    assert place.tell(before, label="late", row=0, time=time.time() + 60).status_code == 202
    assert [row for identity, row in folder.outcomes() if identity == before] == [1]
    # What is asked afterwards is logged again.
    after = place.predict(*rows)
    found = logged(place.log, "flights", before, after)
    assert sorted((row.id == after, row.record or "") for row in found) == [(False, ""), (True, ""), (True, "second")]

    def files() -> list[tuple[bool, str]]:
        found = [row for path in folder.path.glob("predictions/*/*.parquet") for row in pq.ParquetFile(path).read().to_pylist()]
        return sorted((row["id"] == after, row["record"] or "") for row in found if row["id"] in (before, after))

    until(lambda: files() == [(False, ""), (True, ""), (True, "second")], WAIT_S, "the files hold what was not deleted")
    delete(folder, "id", before)
    assert before not in {row.id for row in folder.rows()}
    assert before not in {identity for identity, _ in folder.outcomes()}
    assert b"second" not in (folder.path / "deleted.jsonl").read_bytes()


def test_what_a_killed_server_had_open_is_read_and_made_parquet_by_the_next(tmp_path: Path, logged: Any) -> None:
    log = tmp_path / "log"
    options = ("--log_rate", "1", "--log_dir", str(log), "--log_part_s", "3600")
    rows = {"rows": [{"distance": 1.0}]}
    server = serve_flights(tmp_path, *options).start().wait_ready()
    first = httpx.post(f"{server.url}/models/flights/predict", json=rows, timeout=30).headers["x-request-id"]
    told = httpx.post(f"{server.url}/predictions/{first}/outcome", json={"model": "flights", "label": "late"}, timeout=30)
    assert told.status_code == 202
    logged(log, "flights", first)
    server.kill()
    folder = LogFolder(log, "flights")
    (open_file,) = (folder.path / PREDICTIONS).glob("open-*")
    with open_file.open("ab") as half:
        half.write(b'{"formatVersion":1,"id":"half')
    assert [row.id for row in folder.rows()] == [first]
    with serve_flights(tmp_path, *options) as server:
        assert [path.suffix for path in folder.parts(PREDICTIONS)] == [".parquet"]
        second = httpx.post(f"{server.url}/models/flights/predict", json=rows, timeout=30).headers["x-request-id"]
        assert server.stop() == 0
    # One that was stopped leaves nothing open.
    assert [path.suffix for path in folder.parts(PREDICTIONS)] == [".parquet", ".parquet"]
    assert {row.id for row in folder.rows()} == {first, second}
    assert folder.outcomes()[first, 0].label == "late"


def test_outcomes_wait_for_their_predictions_so_long_and_no_longer(tmp_path: Path, place: Place, logged: Any) -> None:
    identity = place.predict({"distance": 3.5})
    (row,) = logged(place.log, "flights", identity)
    keeper = LogKeeper(tmp_path, 30 * 86400.0, wait_s=100.0)
    keeper.start()
    now = time.time()
    told = [Outcome(name, 0, now, "late", None, now) for name in (identity, "unknown")]
    keeper.writer.add("flights", [], told)
    folder = LogFolder(tmp_path, "flights")
    keeper.tidy(now + 50)
    assert len(folder.outcomes()) == 2
    # The prediction comes after its outcome.
    keeper.writer.add("flights", [row], [])
    keeper.tidy(now + 101)
    assert set(folder.outcomes()) == {(identity, 0)}
    assert keeper.counts == {"known": 1, "unknown": 1}
    keeper.tidy(now + 500)
    assert keeper.counts == {"known": 1, "unknown": 1}
    keeper.tidy(now + 32 * 86400.0)
    assert not folder.parts(PREDICTIONS)
    assert not folder.parts(OUTCOMES)
