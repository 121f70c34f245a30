"""The transformer and a predictor that is stopped: what waits can be seen, followed, cancelled; a queue that is full says so."""

import json
import signal
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from penstock.testing.flights import write_flights, write_store
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until

SUBMIT = "/models/flights/predictions"
ROWS = {"rows": [{"distance": 3.5}]}


@dataclass
class Pair:
    """A transformer with its predictor."""

    predictor: ServerProcess
    transformer: ServerProcess
    http: httpx.Client

    def submit(self, **headers: str) -> str:
        answer = self.http.post(SUBMIT, json=ROWS, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def show(self, id: str, **headers: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/predictions/{id}", headers=headers).json()
        return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("queued")
    write_flights(folder / "flights")
    options = ["--model_name", "flights", "--drain_delay_s", "0"]
    given = [*options, "--model_dir", str(folder / "flights"), "--profile_s", "0"]
    with ServerProcess("penstock_predictor", *given) as predictor:
        given = [
            *options,
            "--predictor_host",
            f"127.0.0.1:{predictor.port}",
            "--feature_store",
            write_store(folder / "online.db"),
        ]
        given += ["--database", f"sqlite:///{folder}/predictions.db", "--results_keep", "0"]
        with (
            ServerProcess("penstock_transformer", *given) as transformer,
            httpx.Client(base_url=transformer.url, timeout=30) as http,
        ):
            yield Pair(predictor, transformer, http)


@pytest.fixture
def stopped(pair: Pair) -> Iterator[Pair]:
    """The pair while the predictor stands still; it goes on at the end."""
    pair.predictor.signal(signal.SIGSTOP)
    try:
        yield pair
    finally:
        pair.predictor.signal(signal.SIGCONT)
    until(lambda: not pair.http.get("/predictions?state=processing").json()["predictions"])


def test_events_follow_from_the_queue_to_the_result(stopped: Pair) -> None:
    id = stopped.submit()
    events: list[tuple[str, dict[str, Any]]] = []
    begun = threading.Event()

    def follow() -> None:
        with stopped.http.stream("GET", f"/predictions/{id}/events") as answer:
            event = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                event = value if name == "event" else event
                if name == "data":
                    events.append((event, json.loads(value)))
                if event == "processing":
                    begun.set()

    follower = threading.Thread(target=follow)
    follower.start()
    assert begun.wait(30)
    assert stopped.show(id)["state"] == "processing"
    stopped.predictor.signal(signal.SIGCONT)
    follower.join(30)
    assert [event for event, _ in events][-2:] == ["processing", "succeeded"]
    assert all(document["id"] == id and document["state"] in (event, "succeeded") for event, document in events)
    assert events[-1][1]["result"]["predictions"]
    assert "expires_at" not in events[-1][1]


def test_a_wait_that_is_over_answers_202_and_loses_nothing(stopped: Pair) -> None:
    answer = stopped.http.post(SUBMIT, json=ROWS, headers={"prefer": "wait=1"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")
    answer_of_predict = stopped.http.post("/models/flights/predict", json=ROWS, headers={"prefer": "respond-async, wait=1"})
    assert (answer_of_predict.status_code, answer_of_predict.json()["state"]) == (202, "processing")
    stopped.predictor.signal(signal.SIGCONT)
    for one in (answer, answer_of_predict):
        assert stopped.show(one.json()["id"], prefer="wait=20")["state"] == "succeeded"


def test_a_deadline_counts_from_the_submission(stopped: Pair) -> None:
    id = stopped.submit(**{"penstock-timeout-ms": "200"})
    ended = stopped.show(id, prefer="wait=20")
    assert (ended["state"], ended["error"]["kind"], ended["error"]["status"]) == ("failed", "deadline_exceeded", 504)


def test_what_is_cancelled_stays_cancelled(stopped: Pair) -> None:
    ids = [stopped.submit() for _ in range(3)]
    until(lambda: stopped.show(ids[0])["state"] == "processing")
    canceled = stopped.http.post(f"/predictions/{ids[0]}/cancel").json()
    assert (canceled["state"], "cancel" in canceled["links"]) == ("canceled", False)
    assert stopped.http.get(f"/predictions/{ids[0]}/events").text.startswith("id: 3\nevent: canceled\n")
    stopped.predictor.signal(signal.SIGCONT)
    assert [stopped.show(id, prefer="wait=20")["state"] for id in ids] == ["canceled", "succeeded", "succeeded"]


def test_the_position_is_how_many_are_before(stopped: Pair) -> None:
    # More than the process takes from its queue at once.
    ids = [stopped.submit() for _ in range(530)]
    until(lambda: stopped.show(ids[-1]).get("position") is not None)
    assert 0 < stopped.show(ids[-1], prefer="wait=0")["position"] < 530
    last, urgent = stopped.show(ids[-1]), stopped.show(stopped.submit(**{"penstock-priority": "-1"}))
    assert last["state"] == "starting"
    assert 0 < last["position"] < 530
    assert urgent["position"] == 0
    stopped.predictor.signal(signal.SIGCONT)
    assert stopped.show(ids[-1], prefer="wait=30")["state"] == "succeeded"


def test_a_database_that_is_busy_is_503_and_then_comes_back(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = next(Path(str(tmp_path_factory.getbasetemp())).glob("queued*/predictions.db"))
    with sqlite3.connect(path) as connection:
        connection.execute("begin immediate")
        answer = pair.http.post(SUBMIT, json=ROWS, headers={"idempotency-key": "busy"})
        assert (answer.status_code, answer.json()["kind"]) == (503, "upstream_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert pair.http.post("/models/flights/predict", json=ROWS).status_code == 200
        connection.rollback()
    connection.close()
    until(lambda: pair.http.post(SUBMIT, json=ROWS, headers={"idempotency-key": "busy"}).status_code == 202)


def test_a_second_process_on_one_file_says_why_it_cannot(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = next(Path(str(tmp_path_factory.getbasetemp())).glob("queued*/predictions.db"))
    given = ["--model_name", "flights", "--predictor_host", "localhost:1", "--database", f"sqlite:///{path}"]
    server = ServerProcess("penstock_transformer", *given, "--workers", "2").start()
    assert server.wait() == 2
    assert "postgresql://" in "".join(server.lines)


def test_a_stream_tells_of_what_it_subscribes_to(stopped: Pair) -> None:
    id = stopped.submit()
    url = stopped.transformer.url.replace("http", "ws")
    with connect(f"{url}/v2/models/flights/stream") as stream:
        credit = json.loads(stream.recv(timeout=20))["credit"]
        stream.send(json.dumps({"subscribe": id}))
        while (told := json.loads(stream.recv(timeout=20)))["event"] == "starting":
            pass
        assert (told["subscription"], told["event"]) == (id, "processing")
        stream.send(json.dumps({"subscribe": id}))
        twice = json.loads(stream.recv(timeout=20))
        assert (twice["subscription"], twice["status"]) == (id, 409)
        stream.send(json.dumps({"subscribe": "nobody"}))
        unknown = json.loads(stream.recv(timeout=20))
        assert (unknown["subscription"], unknown["status"]) == ("nobody", 404)
        stopped.predictor.signal(signal.SIGCONT)
        told = json.loads(stream.recv(timeout=20))
        assert told["event"] == told["prediction"]["state"] == "succeeded"
        assert told["prediction"]["result"]["predictions"]
        # Each took a credit, and gave it back.
        for number in range(credit + 8):
            stream.send(json.dumps({"subscribe": f"nobody {number}"}))
            while "credit" in (answer := json.loads(stream.recv(timeout=20))):
                pass
            assert answer["status"] == 404
