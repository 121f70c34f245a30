"""The monitor against a real broker: what waits is shown, what could not be predicted too, and putting it back works once."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.queues.looking import Looker
from penstock_transformer.queues.opening import KafkaParts

JSON = {"content-type": "application/json"}
GOOD = {"rows": [{"a": 1}]}


def test_what_waits_is_shown_until_a_worker_has_read_it(place: Any, wait: Any) -> None:
    place.watch()
    place.send(*[GOOD] * 7)
    place.send(GOOD, partition=1)
    topic = wait(lambda: (found := place.topic()).get("lag_records") == 8 and found["lag_s"] and found, "the lag")
    assert topic["group"] == f"penstock-{place.model}"
    assert [part["lag_records"] for part in topic["partitions"]] == [7, 1]
    assert [part["end"] for part in topic["partitions"]] == [7, 1]
    first = topic["lag_s"]
    later = wait(lambda: (found := place.topic())["lag_s"] > first and found, "a lag that grows")
    assert later["lag_records"] == 8

    worker = place.worker()
    done = wait(lambda: (found := place.topic())["lag_records"] == 0 and found, "the worker to read all")
    assert done["lag_s"] == 0.0
    assert [part["committed"] for part in done["partitions"]] == [7, 1]
    wait(lambda: place.topic()["rate_out"] > 0, "a rate")
    assert place.topic("predictions")["records"] >= 8

    own = httpx.get(f"{worker.url}/queues").json()["worker"]
    assert (own["records"], own["predictions"], own["held"], own["in_flight"]) == (8, 8, 0, 0)
    assert own["rebalances"] >= 1
    assert own["partitions"] == [f"{place.requests}/0", f"{place.requests}/1"]
    metrics = httpx.get(f"{place.url}/metrics").text
    assert f'penstock_queue_lag_records{{model="{place.model}",partition="0",topic="{place.requests}"}} 0.0' in metrics
    assert "penstock_queue_broker_up 1.0" in metrics


def test_dead_letters_are_counted_by_reason_and_replayed_once(place: Any, wait: Any) -> None:
    place.watch()
    place.worker()
    place.send(GOOD, b"{", {"rows": [{"a": "far"}]}, GOOD)
    wait(lambda: place.letters_figures().get("reasons") == {"invalid_input": 2}, "two dead letters")
    listed = place.get(f"/queues/{place.model}/dead-letters")
    assert [row["letter"]["offset"] for row in listed["dead_letters"]] == [
        row["letter"]["offset"] for row in sorted(listed["dead_letters"], key=lambda row: -row["letter"]["offset"])
    ]
    assert not listed["more"]
    newest = listed["dead_letters"][0]["letter"]
    assert (newest["field"], newest["request"]) == ("rows[0].a", f"{place.requests}/0/2")
    assert newest["message"] == "expected a number, got 'far'"
    at = f"/queues/{place.model}/dead-letters/0/{newest['offset']}"

    shown = place.get(at)
    assert (shown["key"], shown["value_bytes"], shown["id"]) == ("k", 24, newest["id"])
    value = httpx.get(f"{place.url}{at}/value")
    assert value.content == b'{"rows": [{"a": "far"}]}'
    assert value.headers["content-disposition"].startswith("attachment")
    assert value.headers["x-content-type-options"] == "nosniff"

    # Eight at once: one of them does it, whoever it is.
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(httpx.post, f"{place.url}{at}:replay", json={}, timeout=60) for _ in range(8)]
        statuses = sorted(one.result().status_code for one in asked)
    assert statuses == [200] + [409] * 7
    # It is as wrong as before, and so comes back as another letter.
    wait(lambda: place.letters_figures()["reasons"] == {"invalid_input": 3}, "the replayed one, refused again")
    assert len(place.seen(place.requests)) == 5
    again = httpx.post(f"{place.url}{at}:drop", json={}, timeout=60)
    assert again.status_code == 409
    assert "it was replayed before, at 20" in again.json()["detail"]

    other = listed["dead_letters"][1]["letter"]
    dropped = httpx.post(f"{place.url}/queues/{place.model}/dead-letters/0/{other['offset']}:drop", json={}, timeout=60)
    assert dropped.json()["done"] == "dropped"
    figures = wait(lambda: (found := place.letters_figures())["dropped"] == 1 and found, "the mark")
    assert (figures["replayed"], figures["waiting"]) == (1, 1)
    left = place.get(f"/queues/{place.model}/dead-letters")["dead_letters"]
    assert [row["done"] for row in left] == [None]
    everything = place.get(f"/queues/{place.model}/dead-letters?done=true")["dead_letters"]
    assert sorted(str(row["done"]) for row in everything) == ["None", "dropped", "replayed"]


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_look_is_the_same_with_either_client(place: Any, client: str, wait: Any) -> None:
    place.send(*[GOOD] * 3)
    parts = KafkaParts(BrokerSettings(kafka_bootstrap=place.kafka.bootstrap, kafka_client=client))
    looker = Looker(place.model, "nobody", parts)

    def look() -> Any:
        try:
            return looker.look()
        except Retriable:
            return None  # a broker that is young has no groups yet

    try:
        found = wait(look, "a look")
    finally:
        looker.close()
    requests = found.topics[0]
    assert (requests.lag_records, [one.lag_records for one in requests.partitions]) == (3, [3, 0])
    assert requests.lag_s is not None
    assert found.dead_letters is not None
    assert found.dead_letters.counted


def test_what_cannot_be_done_is_said(place: Any, wait: Any) -> None:
    place.watch()
    at = f"{place.url}/queues/{place.model}/dead-letters"
    wait(lambda: place.topic(), "the first look")
    assert place.get(f"/queues/{place.model}/dead-letters") == {"model": place.model, "dead_letters": [], "more": False}
    assert httpx.post(f"{at}/0/0:replay", json={}, timeout=60).status_code == 404
    assert httpx.get(f"{at}/9/0").status_code == 404
    assert httpx.get(f"{place.url}/queues/nobody/dead-letters").status_code == 404
    # What a form of another site could send.
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        assert httpx.post(f"{at}/0/0:replay", content=b"{}", headers=headers).status_code == 415
    assert httpx.post(f"{at}/0/0:replay", content=b'{"a": 1}', headers=JSON).status_code == 400
    assert httpx.get(f"{at}?limit=0").status_code == 400
    assert httpx.get(f"{at}?colour=red").status_code == 400


def test_a_broker_that_is_away_is_said_and_its_figures_age(place: Any, wait: Any) -> None:
    place.watch("--kafka_timeout_s", "1")
    place.send(GOOD)
    wait(lambda: place.topic().get("lag_records") == 1, "the lag")
    place.kafka.pause()
    try:
        away = wait(lambda: (found := place.get("/queues"))["broker"]["state"] == "away" and found, "the broker to be away")
        assert away["broker"]["message"]
        assert away["broker"]["figures_age_s"] > 0
        assert away["models"][0]["topics"][0]["lag_records"] == 1
        assert "penstock_queue_broker_up 0.0" in httpx.get(f"{place.url}/metrics").text
        assert httpx.get(f"{place.url}/v2/health/ready").status_code == 200
    finally:
        place.kafka.resume()
    back = wait(lambda: (found := place.get("/queues"))["broker"]["state"] == "up" and found, "the broker to be back")
    assert back["broker"]["message"] is None


def test_topics_that_do_not_exist_are_named(place: Any, wait: Any) -> None:
    place.watch()
    wait(lambda: place.topic(), "the first look")
    for topic in (place.predictions, place.letters):
        place.kafka.console("kafka-topics", "--delete", "--topic", topic)
    found = wait(lambda: (found := place.get("/queues")["models"][0])["missing"] and found, "topics to be missing")
    assert set(found["missing"]) <= {place.predictions, place.letters}
    wait(lambda: place.get("/queues")["models"][0]["dead_letters"] is None, "no figures of letters")


def test_events_bring_the_same_and_end_with_the_server(place: Any) -> None:
    server = place.watch()
    place.send(GOOD)
    deadline = time.monotonic() + 60
    with httpx.stream("GET", f"{place.url}/queues/events", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        for line in lines:
            if line.startswith("data: ") and '"lag_records":1' in line:
                break
            assert time.monotonic() < deadline
        server.signal(signal.SIGTERM)
        for _ in lines:
            assert time.monotonic() < deadline


def test_predictions_that_wait_in_the_database_are_shown(place: Any, wait: Any, tmp_path: Path) -> None:
    # With a broker it is a relay that takes them from the database, and none runs here.
    place.watch("--database", f"sqlite:///{tmp_path / 'predictions.db'}")
    for _ in range(3):
        assert httpx.post(f"{place.url}/models/{place.model}/predictions", json=GOOD).status_code == 202
    found = wait(lambda: (found := place.get("/queues")["database"]) and found[0]["waiting"] == 3 and found, "three waiting")
    assert (found[0]["model"], found[0]["processing"]) == (place.model, 0)
    assert found[0]["oldest_s"] >= 0
    metrics = httpx.get(f"{place.url}/metrics").text
    assert f'penstock_queue_predictions{{model="{place.model}",state="waiting"}} 3.0' in metrics
    assert place.get("/queues?model=nobody")["database"] == []
