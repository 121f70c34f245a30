"""`penstock dead-letters` against a real Kafka: seen, shown, put back once each though the command is killed, dropped."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.errors import InvalidInput
from penstock.failpoints import VARIABLE
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.worker.dead_letters import DeadLetters

LETTERS = 450  # more than two transactions


@pytest.fixture
def filled(topics):
    """Topics with dead letters of two reasons, doubled headers and bytes that are no text among them."""
    found = topics()
    letters = DeadLetters(f"{found.model}.dead-letters")
    written = []
    for n in range(LETTERS):
        headers = (("ce_id", b"id-%d" % n), ("x", b"\xff\x00"), ("x", b"2")) if n % 2 else ()
        record = Record(Partition(f"{found.model}.requests", n % 2), n, 0, b"key %d" % n, b"\xff%d" % n, headers)
        if n == 7:
            written.append(letters.letter(record, "crashed", "three times", attempts=3))
        else:
            written.append(letters.of(record, InvalidInput("expected a number", field="rows[0].distance"), None))
    found.write(written)
    return found


def penstock(topics, *arguments, env=None):
    command = [sys.executable, "-m", "penstock_cli", "dead-letters", arguments[0], topics.model, *arguments[1:]]
    variables = {"PENSTOCK_TRANSFORMER_KAFKA_BOOTSTRAP": topics.settings.kafka_bootstrap, **(env or {})}
    return subprocess.run(command, env=os.environ | variables, capture_output=True, check=False, timeout=100)


def test_letters_are_listed_and_shown(filled):
    listed = penstock(filled, "list", "--limit", "3", "--json")
    assert listed.returncode == 0, listed.stderr
    lines = [json.loads(line) for line in listed.stdout.splitlines()]
    assert len(lines) == 3
    assert {line["reason"] for line in lines} == {"invalid_input"}
    crashed = penstock(filled, "list", "--reason", "crashed", "--since", "1h")
    assert crashed.stdout.decode().count("\n") == 2
    assert "three times" in crashed.stdout.decode()
    shown = penstock(filled, "show", "id-7").stdout.decode()
    assert f"{filled.model}.requests/1/7" in shown
    assert r"x: \xff\x00" in shown
    assert penstock(filled, "show", "id-7", "--value").stdout == b"\xff7"
    missing = penstock(filled, "show", "id-10000")
    assert (missing.returncode, b"no dead letter" in missing.stderr) == (1, True)


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_each_is_put_back_once_byte_for_byte_though_the_command_is_killed(filled, client):
    chosen = {"PENSTOCK_TRANSFORMER_KAFKA_CLIENT": client}
    killed = penstock(filled, "replay", "--all", env={**chosen, VARIABLE: "replay.committed=kill@2"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    some = len(filled.read("requests"))
    assert 0 < some < LETTERS
    replayed = penstock(filled, "replay", "--all", env=chosen)
    assert replayed.returncode == 0, replayed.stderr
    assert f"{LETTERS - some} replayed" in replayed.stderr.decode()
    back = filled.read("requests")
    assert sorted(int(record.value[1:]) for record in back) == list(range(LETTERS))
    for record in back:
        n = int(record.value[1:])
        assert (record.key, record.partition.number, record.value) == (b"key %d" % n, n % 2, b"\xff%d" % n)
        if n % 2:
            assert record.headers[:3] == (("ce_id", b"id-%d" % n), ("x", b"\xff\x00"), ("x", b"2"))
        else:
            assert record.header("ce_id").decode() == f"{filled.model}.requests/0/{n}"
        assert record.header("penstock-replayed").startswith(f"{filled.model}.dead-letters/".encode())
    assert b"0 replayed" in penstock(filled, "replay", "--all").stderr
    assert len(filled.read("requests")) == LETTERS


def test_of_two_at_once_each_letter_is_put_back_by_one(filled):
    """One may be fenced by the other: then it says so, and what it did counts."""
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: penstock(filled, "replay", "--all"), range(2)))
    for one in both:
        assert one.returncode == 0 or b"another program began" in one.stderr, one.stderr
    assert penstock(filled, "replay", "--all").returncode == 0
    assert sorted(int(record.value[1:]) for record in filled.read("requests")) == list(range(LETTERS))


def test_one_is_chosen_and_another_dropped(filled):
    assert penstock(filled, "replay", "--id", "id-9").returncode == 0
    assert [record.value for record in filled.read("requests")] == [b"\xff9"]
    assert penstock(filled, "drop", "--reason", "crashed").returncode == 0
    assert b"0 replayed" in penstock(filled, "replay", "--id", "id-7").stderr
    listed = penstock(filled, "list", "--reason", "crashed", "--all", "--json")
    assert json.loads(listed.stdout)["seen_to"]["what"] == "dropped"


def test_what_is_asked_for_must_be_said(filled, topics):
    assert b"expected --all, or which are meant" in penstock(filled, "replay").stderr
    assert b"a time such as" in penstock(filled, "list", "--since", "yesterday").stderr
    nowhere = penstock(filled, "list", env={"PENSTOCK_TRANSFORMER_KAFKA_BOOTSTRAP": ""})
    assert (nowhere.returncode, b"--kafka_bootstrap" in nowhere.stderr) == (2, True)
    filled.model = "nothing"
    assert b"no topic nothing.dead-letters" in penstock(filled, "list").stderr
