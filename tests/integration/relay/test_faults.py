"""What lies around the relay fails, or the relay itself is not what it was: each id is in the topic once all the same."""

import os
import signal
import threading
from typing import Any

from penstock.testing.committed import ids
from penstock.testing.waiting import until


def test_the_broker_is_restarted_while_predictions_are_submitted(place: Any) -> None:
    place.relay().wait_ready()
    place.submit(15)
    place.kafka.kill()
    place.submit(15)
    place.kafka.start()
    place.submit(5)
    place.wait_published()


def test_the_database_is_restarted_while_batches_are_published(place: Any) -> None:
    place.relay().wait_ready()
    place.submit(30)
    place.postgres.kill()
    place.postgres.start()
    place.submit(30)
    place.wait_published()


def test_two_relays_share_the_work_and_one_that_dies_leaves_nothing_behind(place: Any) -> None:
    first = place.relay(instance="a", failpoints="relay.sent=kill@4")
    place.relay(instance="b").wait_ready()
    submitting = [threading.Thread(target=place.submit, args=(40,), kwargs={"key": key}) for key in (b"k1", b"k2")]
    for thread in submitting:
        thread.start()
    for thread in submitting:
        thread.join()
    first.signal(signal.SIGKILL)
    seen = place.wait_published()
    for key in (b"k1", b"k2"):
        times = [
            (record.timestamp_ms, record.header("ce_id"))
            for record in sorted(seen, key=lambda one: one.offset)
            if record.key == key
        ]
        # Ids grow with time to the millisecond; one submit of a key began when the one before had been answered.
        assert [moment for moment, _ in times] == sorted(moment for moment, _ in times)
    until(lambda: place.row_count("penstock_intents") == 0, 30, "no intent left")
    assert place.row_count("penstock_relay_slots") == 2


def test_a_relay_that_hung_past_its_lease_changes_nothing_when_it_wakes(place: Any) -> None:
    place.submit(25)
    zombie = place.relay(instance="a", failpoints="relay.claimed=pause@2")
    until(lambda: stopped(zombie.pid), 60, "the relay hangs with a batch that it has claimed")
    place.relay(instance="b")
    place.wait_published()
    os.kill(zombie.pid, signal.SIGCONT)
    place.submit(25)
    seen = place.wait_published()
    assert len(seen) == sum(ids(seen).values()) == 50
    until(lambda: place.row_count("penstock_intents") == 0, 30, "no intent left")
    assert zombie.stop() == 0


def stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"
