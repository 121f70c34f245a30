"""A look over a broker that is a dictionary: what is asked of it, and what is made of the answers."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from penstock_transformer.broker.port import Retriable, TopicState
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.queues.looking import Looker


class Memory:
    """Implements `queues.opening.Parts`, its admin and its readers; counts what is read."""

    def __init__(self) -> None:
        self.topics_: dict[str, list[list[Record]]] = {
            name: [[], []] for name in ("m.requests", "m.predictions", "m.dead-letters")
        }
        self.offsets: dict[Partition, int] = {}
        self.sink_offsets: dict[Partition, int] = {}
        self.reads = 0
        self.closed = 0
        self.away = False

    def put(self, topic: str, number: int = 0, count: int = 1, headers: Any = (), **other: Any) -> None:
        log = self.topics_[topic][number]
        for _ in range(count):
            given = {"key": b"k", "value": b"v", "timestamp_ms": 990_000, **other}
            log.append(Record(Partition(topic, number), len(log), headers=headers, **given))

    def admin(self) -> Any:
        return self

    def reader(self) -> Any:
        return self

    def glance(self) -> Any:
        return self

    def topics(self, names: Sequence[str]) -> dict[str, TopicState]:
        return {name: TopicState(name, len(self.topics_[name]), 1, {}) for name in names if name in self.topics_}

    def ends(self, topics: Sequence[str]) -> dict[Partition, tuple[int, int]]:
        if self.away:
            raise Retriable("away")
        return {
            Partition(name, number): (0, len(log))
            for name in topics
            if name in self.topics_
            for number, log in enumerate(self.topics_[name])
        }

    def committed(self, group: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
        return dict(self.offsets) if group == "g" else dict(self.sink_offsets)

    def read(self, topic: str, start: Mapping[Partition, int] | None = None) -> Iterator[Record]:
        self.reads += 1
        for number, log in enumerate(self.topics_[topic]):
            yield from log[(start or {}).get(Partition(topic, number), 0) :]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def broker() -> Memory:
    return Memory()


@pytest.fixture
def looker(broker: Memory) -> Looker:
    return Looker("m", "g", broker, clock=map((0.001).__mul__, itertools.count()).__next__, now=lambda: 1000.0)


def test_the_oldest_record_is_looked_up_once_for_each_offset(broker: Memory, looker: Looker) -> None:
    broker.put("m.requests", 0, 5)
    broker.put("m.requests", 1, 2, timestamp_ms=400_000)
    requests = looker.look().topics[0]
    assert (requests.lag_records, requests.lag_s) == (7, 600.0)
    assert broker.reads == 2
    looker.look()
    assert broker.reads == 2
    broker.offsets = {Partition("m.requests", 1): 2, Partition("m.requests", 0): 3}
    requests = looker.look().topics[0]
    assert (requests.lag_records, requests.lag_s, broker.reads) == (2, 10.0, 3)


def test_dead_letters_are_read_on_from_where_the_last_look_ended(broker: Memory, looker: Looker) -> None:
    wrong = (("penstock-reason", b"invalid_input"),)
    broker.put("m.dead-letters", 0, 3, headers=wrong)
    broker.put("m.dead-letters", 1, 1, headers=(("penstock-reason", b"crashed"),))
    found = looker.look().dead_letters
    assert found is not None
    assert (found.reasons, found.waiting, found.counted) == ({"invalid_input": 3, "crashed": 1}, 4, True)
    reads = broker.reads
    looker.look()
    assert broker.reads == reads
    broker.topics_["m.replays"] = [[]]
    mark = b'{"what":"replayed","at_s":1.0,"written_ms":990000}'
    broker.put("m.replays", key=b"m.dead-letters/0/1", value=mark)
    broker.put("m.replays", key=b"anything", value=b"no mark")
    broker.put("m.dead-letters", 0, headers=wrong)
    found = looker.look().dead_letters
    assert found is not None
    assert (sum(found.reasons.values()), found.replayed, found.waiting) == (5, 1, 4)
    assert [(one.entry.place, one.done) for one in looker.newest if one.done] == [((0, 1), "replayed")]
    assert looker.newest[0].entry.place == (0, 3)


def test_a_look_reads_a_bounded_number_and_the_next_goes_on(broker: Memory, looker: Looker) -> None:
    broker.put("m.dead-letters", 0, 7000, headers=(("penstock-reason", b"crashed"),))
    looker._clock = lambda: 0.0
    first = looker.look().dead_letters
    assert first is not None
    assert (first.counted, first.reasons) == (False, {"crashed": 5000})
    second = looker.look().dead_letters
    assert second is not None
    assert (second.counted, second.reasons) == (True, {"crashed": 7000})


def test_what_does_not_exist_is_missing_and_what_is_away_is_opened_anew(broker: Memory, looker: Looker) -> None:
    del broker.topics_["m.dead-letters"]
    found = looker.look()
    assert (found.missing, found.dead_letters) == (["m.dead-letters"], None)
    broker.away = True
    with pytest.raises(Retriable):
        looker.look()
    assert broker.closed == 1
    broker.away = False
    looker.look()


def test_a_sink_counts_once_it_has_committed(broker: Memory) -> None:
    looker = Looker("m", "g", broker, groups={"predictions": "s", "dead-letters": "s"}, now=lambda: 1000.0)
    broker.put("m.predictions", 0, 5)
    assert [topic.group for topic in looker.look().topics] == ["g", None, None]
    broker.sink_offsets = {Partition("m.predictions", 0): 3}
    topics = looker.look().topics
    assert [(topic.group, topic.lag_records) for topic in topics] == [("g", 0), ("s", 2), (None, None)]
