"""Streams over real Kafka and real stores: what is written, what is not, and that nothing is lost whatever dies."""

import json
import signal
import subprocess
import sys
from typing import Any

import httpx
import pytest

from penstock.testing.flights import serve_flights, write_flights, write_pictures
from penstock.testing.programs import ProgramMissing, program
from penstock.testing.waiting import until

WAIT_S = 60.0


def written(updates: Any, expected: dict[int, int | None]) -> None:
    until(lambda: updates.seats(*expected) == list(expected.values()), WAIT_S, f"rows {expected}")


def test_updates_are_written_late_and_repeated_ones_change_nothing_bad_ones_are_dead_letters(updates: Any) -> None:
    process = updates.stream("--kafka_client", "confluent" if updates.url.startswith("redis") else "kafka-python")
    updates.send(1, 100, 2_000.0)
    updates.send(1, 90, 1_000.0)
    updates.send(1, 101, 2_000.0)
    updates.send(2, 200, 2_000.5)
    updates.send(2, 201, 2_000.75)
    updates.send(3, "many", 2_000.0)
    updates.send_raw(b"not json", headers=[("ce_id", b"event-9"), ("x", b"\xff")])
    updates.send(4, None, 2_000.0)
    updates.send(5, 500, headers=[("ce_time", b"2020-01-01T00:00:00Z")])
    updates.send(5, 501, 1_577_836_799.0)
    updates.send(99, 1)
    updates.flush()
    written(updates, {1: 100, 2: 201, 3: None, 4: None, 5: 500, 99: 1})
    until(lambda: len(updates.dead()) == 2, WAIT_S, "two dead letters")
    found = updates.dead()
    letters = {letter.header("penstock-field"): letter for letter in found}
    wrong = letters[b"values.seats"]
    assert wrong.header("penstock-reason") == b"invalid_input"
    assert json.loads(wrong.value)["values"] == {"seats": "many"}
    assert wrong.header("penstock-position").startswith(updates.topic.encode())
    foreign = letters[None]
    assert (foreign.value, foreign.key, foreign.headers[:2]) == (b"not json", b"k", (("ce_id", b"event-9"), ("x", b"\xff")))
    process.wait_ready()
    metrics = httpx.get(f"{process.url}/metrics").text
    assert "penstock_updates_refused_total 2.0" in metrics
    assert "penstock_updates_unchanged_total 3.0" in metrics
    assert process.stop() == 0


@pytest.mark.parametrize("point", ["updates.written=kill@2", "worker.predicted=kill@2", "worker.committed=kill@2"])
def test_a_kill_in_mid_batch_loses_nothing_and_doubles_no_dead_letter(updates_of_sqlite: Any, point: str) -> None:
    updates = updates_of_sqlite
    for number in range(60):
        updates.send(number, number, 10.0)
        if number % 10 == 0:
            updates.send_raw(b"bad %d" % number, key=b"%d" % number)
    updates.flush()
    first = updates.stream("--poll_records", "7", "--batch_rows", "5", failpoints=point)
    assert first.wait(WAIT_S) == -signal.SIGKILL
    updates.stream()
    written(updates, {number: number for number in range(60)})
    until(lambda: len(updates.dead()) >= 6, WAIT_S, "six dead letters")
    assert sorted(letter.key for letter in updates.dead()) == sorted(b"%d" % number for number in range(0, 60, 10))


def test_a_store_that_is_away_is_waited_for(updates_of_redis: Any, redis: Any) -> None:
    updates = updates_of_redis
    process = updates.stream().wait_ready()
    updates.send(1, 1, 10.0)
    updates.flush()
    written(updates, {1: 1})
    redis.kill()
    for number in range(2, 30):
        updates.send(number, number, 10.0)
    updates.flush()
    process.wait_event("feature store away", WAIT_S)
    redis.start()
    written(updates, {number: number for number in range(2, 30)})
    assert updates.dead() == []
    assert process.stop() == 0


def test_a_broker_that_is_killed_is_waited_for(updates_of_sqlite: Any, kafka: Any) -> None:
    updates = updates_of_sqlite
    process = updates.stream().wait_ready()
    for number in range(50):
        updates.send(number, number, 10.0)
    updates.send_raw(b"bad")
    updates.flush()
    kafka.kill()
    kafka.start()
    for number in range(50, 100):
        updates.send(number, number, 10.0)
    updates.flush()
    written(updates, {number: number for number in range(100)})
    until(lambda: len(updates.dead()) >= 1, WAIT_S, "the dead letter")
    assert len(updates.dead()) == 1
    assert process.stop() == 0


def test_several_streams_share_the_work_and_one_that_is_killed_is_followed(updates_of_redis: Any) -> None:
    updates = updates_of_redis
    streams = [updates.stream("--kafka_instance", f"{updates.name}-{n}").wait_ready() for n in range(2)]
    for number in range(100):
        updates.send(number, number, 10.0)
    updates.flush()
    streams[0].signal(signal.SIGKILL)
    for number in range(100, 200):
        updates.send(number, number, 10.0)
    updates.flush()
    written(updates, {number: number for number in range(200)})
    assert streams[1].stop() == 0


def test_topics_that_are_not_there_are_named(updates_of_sqlite: Any) -> None:
    updates = updates_of_sqlite
    updates.features.write_text(updates.features.read_text().replace(updates.name, "nosuch"))
    process = updates.stream("--feature_sets", "nosuch")
    assert process.wait(WAIT_S) == 1
    assert "nosuch.updates, nosuch.updates.dead-letters" in "".join(process.lines)


def test_a_prediction_follows_an_event_of_a_foreign_producer(kafka: Any, tmp_path: Any, updates_of_sqlite: Any) -> None:
    try:
        kcat = program("kcat")
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    updates = updates_of_sqlite
    write_flights(tmp_path / "flights")
    write_pictures(tmp_path / "pictures")
    with serve_flights(tmp_path) as server:
        updates.stream().wait_ready()
        row = {"distance": 100, "carrier": "AA", "leaves": 0, "tailnum": "N-kcat"}

        def prediction() -> Any:
            answer = httpx.post(f"{server.url}/models/flights/predict", json={"rows": [row]})
            assert answer.status_code == 200, answer.text
            return answer.json()["predictions"][0]

        before = prediction()
        assert "seats" in before["defaulted"]
        event = '{"keys": {"tailnum": "N-kcat"}, "values": {"seats": 400}}\n'
        command = [kcat, "-P", "-b", kafka.bootstrap, "-t", updates.topic, "-H", "ce_type=dev.penstock.features.updated.v1"]
        subprocess.run(command, input=event, text=True, check=True, timeout=WAIT_S)
        after = until(lambda: (now := prediction())["defaulted"] != before["defaulted"] and now, WAIT_S, "the new seats")
        assert "seats" not in after["defaulted"]
        assert after["scores"] != before["scores"]


def test_dead_letters_of_updates_are_put_back_into_their_topic_as_of_their_own_time(updates_of_sqlite: Any) -> None:
    updates = updates_of_sqlite
    process = updates.stream()
    updates.send(1, "many")
    updates.flush()
    (letter,) = until(updates.dead, WAIT_S, "the dead letter")
    command = [sys.executable, "-m", "penstock_cli", "dead-letters", "replay", updates.topic, "--all"]
    done = subprocess.run(
        [*command, "--kafka_bootstrap", updates.kafka.bootstrap], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "1 replayed\n")
    again = until(lambda: updates.dead()[1:], WAIT_S, "the same, refused again")[0]
    assert again.value == letter.value
    assert again.header("penstock-replayed") == b"%b/%d/%d" % (updates.letters.encode(), letter.partition, letter.offset)
    assert again.header("ce_time") == letter.header("ce_time")
    assert process.stop() == 0


def test_the_command_streams_until_it_is_stopped_and_counts(updates_of_sqlite: Any) -> None:
    updates = updates_of_sqlite
    command = [
        sys.executable,
        "-m",
        "penstock_cli",
        "features",
        "stream",
        updates.name,
        "--bundle",
        str(updates.features),
        "--json",
    ]
    process = subprocess.Popen(
        [*command, "--feature-store", updates.url, *updates.options()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        updates.send(1, 10, 20.0)
        updates.send(1, 9, 10.0)
        updates.send(2, "x")
        updates.flush()
        written(updates, {1: 10})
        until(lambda: len(updates.dead()) == 1, WAIT_S, "the dead letter")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == {"written": 1, "unchanged": 1, "refused": 1}
