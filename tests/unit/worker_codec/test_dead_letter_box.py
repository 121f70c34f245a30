"""A box of dead letters over a broker in memory: each is put back once, whatever fails in between, and none is passed over."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_transformer.broker.port import BrokerError, Fenced, InDoubt, Retriable, TooLargeForTopic, TopicState
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.worker.bare_letters import barer
from penstock_transformer.worker.dead_letter_box import DeadLetterBox, Wanted
from penstock_transformer.worker.dead_letters import DeadLetters

ALL = Wanted()


class MemoryBroker:
    """Topics in memory; a commit is all or nothing. `plan`: what the next commits come to: an error, with `True` for one that
    happened nevertheless; none: they succeed."""

    def __init__(self, plan=()):
        self.logs = defaultdict(list)
        self.next = defaultdict(int)
        self.states = {
            "flights.dead-letters": TopicState("flights.dead-letters", 4, 1, {"min.insync.replicas": "2", "retention.ms": "9"}),
            "flights.requests": TopicState("flights.requests", 4, 1, {}),
        }
        self.plan = list(plan)
        self.owner = 0
        self.first = 0
        self.read_records = 0
        self.opened = 0

    def put(self, out):
        partition = Partition(out.topic, out.partition or 0)
        offset = self.next[partition]
        self.next[partition] += 1
        at = 1_790_000_000_000 + len(self.logs[out.topic]) * 1000
        self.logs[out.topic].append(Record(partition, offset, at, out.key, out.value, out.headers))

    def reader(self):
        self.opened += 1
        return self

    def admin(self):
        self.opened += 1
        return self

    def outlet(self, transactional_id):
        assert transactional_id == "penstock-flights-replays"
        return MemoryOutlet(self)

    def read(self, topic, start=None):
        found = [r for r in self.logs[topic] if r.offset >= (start or {}).get(r.partition, 0)]
        self.read_records += len(found)
        return iter(found)

    def topics(self, names):
        return {name: self.states[name] for name in names if name in self.states}

    def create(self, topic):
        self.states[topic.name] = topic

    def ends(self, topics):
        return {Partition(topic, number): (self.first, 2**40) for topic in topics for number in range(4)}

    def close(self):
        self.opened -= 1


class MemoryOutlet:
    def __init__(self, broker):
        self.broker = broker

    def open(self):
        self.broker.owner += 1
        self.generation = self.broker.owner
        self.usable = True

    def commit(self, records, offsets, group):
        assert self.usable, "restore before the next"
        assert not offsets
        if self.generation != self.broker.owner:
            raise Fenced("another is at it")
        error, happened = self.broker.plan.pop(0) if self.broker.plan else (None, True)
        if happened:
            for record in records:
                self.broker.put(record)
        if error is not None:
            self.usable = False
            raise error

    def restore(self):
        self.usable = True

    def close(self):
        return


@pytest.fixture(scope="session")
def fill(record):
    letters = DeadLetters("flights.dead-letters")

    def fill(broker, count):
        error = InvalidInput("wrong", field="rows[0].x")
        for n in range(count):
            broker.put(letters.of(record(b"%d" % n, ("ce_id", b"id-%d" % n), offset=n, number=n % 3), error, None))
        return broker

    return fill


def box_over(broker):
    return DeadLetterBox("flights", broker, pause=lambda _: None)


def replayed(broker):
    return sorted(int(record.value) for record in broker.logs["flights.requests"])


def test_letters_are_found_by_reason_time_and_id_the_newest_of_them(fill, record):
    broker = fill(MemoryBroker(), 5)
    broker.put(DeadLetters("flights.dead-letters").letter(record(b"9", offset=9), "crashed", "why"))
    box = box_over(broker)
    assert [f.letter.value for f in box.find(ALL, 3)] == [b"3", b"4", b"9"]
    assert [f.letter.value for f in box.find(Wanted(reason="crashed"), 3)] == [b"9"]
    assert [f.letter.value for f in box.find(Wanted(ids=frozenset({"id-2"})), 3)] == [b"2"]
    assert [f.letter.value for f in box.find(Wanted(ids=frozenset({"flights.dead-letters/0/1"})), 3)] == [b"3"]
    assert [f.letter.value for f in box.find(Wanted(ids=frozenset({"flights.requests/3/9"})), 3)] == [b"9"]
    assert box.find(Wanted(since_s=9e9), 3) == []
    assert "flights.replays" not in broker.states, "looking makes no topic"


def test_each_is_put_back_once_to_its_partition_with_key_and_headers(fill):
    broker = fill(MemoryBroker(), 500)
    box = box_over(broker)
    report = box.replay(ALL)
    assert (len(report.done), report.refused) == (500, [])
    assert replayed(broker) == list(range(500))
    back = broker.logs["flights.requests"][0]
    assert (back.key, back.partition.number, back.headers[0]) == (b"k", 0, ("ce_id", b"id-0"))
    assert back.headers[1] == ("penstock-replayed", b"flights.dead-letters/0/0")
    assert box.replay(ALL).done == []
    assert box.find(ALL, 9) == []
    assert {f.mark.what for f in box.find(Wanted(done=True), 9)} == {"replayed"}
    assert broker.states["flights.replays"].settings == {"cleanup.policy": "compact", "min.insync.replicas": "2"}


def test_letters_whose_places_are_known_are_read_alone(fill):
    broker = fill(MemoryBroker(), 300)
    box = box_over(broker)
    last = frozenset({"flights.dead-letters/0/99", "flights.dead-letters/2/98"})
    assert len(box.find(Wanted(ids=last), 9)) == 2
    assert broker.read_records == 3
    assert len(box.replay(Wanted(ids=last)).done) == 2
    assert box.replay(Wanted(ids=frozenset({"flights.dead-letters/0/1000"}))).done == []
    assert replayed(broker) == [296, 297]


def test_a_choice_and_a_limit(fill):
    broker = fill(MemoryBroker(), 10)
    box = box_over(broker)
    assert len(box.replay(Wanted(ids=frozenset({"id-4", "id-5"}))).done) == 2
    assert replayed(broker) == [4, 5]
    assert len(box.replay(ALL, 3).done) == 3
    assert len(box.replay(ALL).done) == 5
    assert replayed(broker) == list(range(10))


def test_what_is_dropped_is_not_shown_or_replayed_but_still_there(fill):
    broker = fill(MemoryBroker(), 4)
    box = box_over(broker)
    assert len(box.drop(Wanted(ids=frozenset({"id-1"}))).done) == 1
    assert len(box.replay(ALL).done) == 3
    assert replayed(broker) == [0, 2, 3]
    assert [f.mark.what for f in box.find(Wanted(ids=frozenset({"id-1"}), done=True), 9)] == ["dropped"]


FAILURES = st.lists(
    st.sampled_from(
        [(Retriable("moved"), False), (InDoubt("lost"), False), (InDoubt("lost"), True), (None, True), (BrokerError("no"), False)]
    ),
    max_size=12,
)


@given(FAILURES, st.sampled_from([0, 1, 30, 410]))
def test_whatever_fails_each_is_put_back_once_in_the_end(fill, plan, count):
    broker = fill(MemoryBroker(plan), count)
    box = box_over(broker)
    for _ in range(len(plan) + 1):
        try:
            box.replay(ALL)
        except BrokerError:
            continue
    assert replayed(broker) == list(range(count))


def test_a_broker_that_stays_away_is_said_and_nothing_is_lost(fill):
    broker = fill(MemoryBroker([(Retriable("away"), False)] * 50), 4)
    with pytest.raises(Retriable):
        box_over(broker).replay(ALL)
    assert replayed(broker) == []
    broker.plan.clear()
    assert len(box_over(broker).replay(ALL).done) == 4


def test_a_second_box_takes_over_and_the_first_ends(fill):
    broker = fill(MemoryBroker(), 4)
    box = box_over(broker)
    original = broker.read

    def taken_over(topic, start=None):
        found = original(topic, start)
        if topic == "flights.dead-letters" and broker.owner == 1:
            assert len(box_over(broker).replay(ALL).done) == 4
        return found

    broker.read = taken_over
    with pytest.raises(Fenced) as caught:
        box.replay(ALL)
    assert broker.opened == 0, f"a client was left open by {caught.value}"
    assert replayed(broker) == [0, 1, 2, 3]


def test_one_that_the_topic_does_not_take_harms_no_other(fill):
    broker = fill(MemoryBroker([(TooLargeForTopic("9 bytes, the topic takes 8", at=2), False)]), 5)
    report = box_over(broker).replay(ALL)
    assert [(letter.id, why) for letter, why in report.refused] == [("id-2", "9 bytes, the topic takes 8")]
    assert replayed(broker) == [0, 1, 3, 4]


def test_a_letter_without_its_value_cannot_be_put_back_but_dropped(record):
    broker = MemoryBroker()
    broker.put(barer(DeadLetters("flights.dead-letters").letter(record(b"7"), "too_large", "why"), 1))
    box = box_over(broker)
    report = box.replay(ALL)
    assert (report.done, len(report.refused)) == ([], 1)
    assert "value did not fit" in report.refused[0][1]
    assert len(box.drop(ALL).done) == 1
    assert box.find(ALL, 9) == []


def test_marks_of_a_topic_that_was_made_again_mean_nothing_to_it(fill):
    broker = fill(MemoryBroker(), 3)
    box = box_over(broker)
    box.replay(ALL)
    old = broker.logs.pop("flights.dead-letters")
    broker.logs["flights.dead-letters"] = [
        Record(r.partition, r.offset, r.timestamp_ms + 60_000, r.key, r.value, r.headers) for r in old
    ]
    assert len(box.replay(ALL).done) == 3


def test_marks_of_letters_that_are_gone_are_removed(fill):
    broker = fill(MemoryBroker(), 6)
    box = box_over(broker)
    box.replay(ALL)
    broker.first = 1
    box.replay(ALL)
    gone = {record.key for record in broker.logs["flights.replays"] if record.value is None}
    assert gone == {b"flights.dead-letters/0/0", b"flights.dead-letters/1/0", b"flights.dead-letters/2/0"}
    assert len(box._read_marks(there=True)) == 3


def test_a_topic_that_is_not_there_is_said(fill):
    broker = MemoryBroker()
    broker.states.clear()
    with pytest.raises(BrokerError, match=r"no topic flights\.dead-letters"):
        box_over(broker).find(ALL, 1)


def test_without_the_requests_topic_nothing_is_put_back_or_marked(fill):
    broker = fill(MemoryBroker(), 3)
    del broker.states["flights.requests"]
    with pytest.raises(BrokerError, match=r"no topic flights\.requests to put them back into"):
        box_over(broker).replay(ALL)
    assert len(box_over(broker).find(ALL, 9)) == 3
    assert len(box_over(broker).drop(ALL).done) == 3


def test_letters_go_back_to_where_they_came_from(fill):
    broker = fill(MemoryBroker(), 3)
    broker.states["elsewhere"] = TopicState("elsewhere", 4, 1, {})
    assert len(DeadLetterBox("flights", broker, requests="elsewhere").replay(ALL).done) == 3
    assert (len(broker.logs["elsewhere"]), len(broker.logs["flights.requests"])) == (3, 0)


def test_letters_of_a_model_that_is_called_like_updates_go_back_to_its_requests(fill):
    broker = fill(MemoryBroker(), 1)
    box = DeadLetterBox("flights", broker, requests="flights")
    assert len(box.replay(ALL).done) == 1
    assert len(broker.logs["flights.requests"]) == 1


def test_a_mark_that_is_none_of_ours_is_said(fill):
    broker = fill(MemoryBroker(), 1)
    broker.create(TopicState("flights.replays", 1, 1, {}))
    broker.put(OutRecord("flights.replays", b"x", b"?"))
    with pytest.raises(InvalidInput, match="no mark of ours"):
        box_over(broker).find(ALL, 1)
