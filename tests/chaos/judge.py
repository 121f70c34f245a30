"""What became of every id, seen by a reader that shares nothing with us: confluent's consumer, `read_committed`, from the start.

Each id that was taken has exactly one record, in the predictions or in the dead letters; one of an HTTP submission has ended in
the database as well, as that record says.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from cast import MODEL
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

# Between two rounds of asking in which nothing had ended.
_ASK_AGAIN_S = 0.5
PREDICTIONS, DEAD_LETTERS = f"{MODEL}.predictions", f"{MODEL}.dead-letters"


@dataclass
class Verdict:
    """`seen`: records an id by topic. `states`: an id's state in the database."""

    seen: dict[str, Counter[str]] = field(default_factory=lambda: {PREDICTIONS: Counter(), DEAD_LETTERS: Counter()})
    states: dict[str, str] = field(default_factory=dict)

    def lost(self, taken: set[str]) -> set[str]:
        """Ids without any record."""
        return {name for name in taken if not any(counts[name] for counts in self.seen.values())}

    def doubled(self) -> set[str]:
        """Ids with more than one."""
        total: Counter[str] = Counter()
        for counts in self.seen.values():
            total.update(counts)
        return {name for name, count in total.items() if count > 1}

    def disagreeing(self, submitted: set[str]) -> set[str]:
        """Submissions whose state is not what their record says."""
        expected = {PREDICTIONS: "succeeded", DEAD_LETTERS: "failed"}
        return {
            name
            for name in submitted
            if not any(counts[name] and self.states.get(name) == expected[topic] for topic, counts in self.seen.items())
        }


class Judge:
    """Reads both topics as far as they go."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "judge",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self.verdict = Verdict()
        self._bootstrap = bootstrap

    def close(self) -> None:
        self._consumer.close()

    def read_until_all(self, taken: set[str], within_s: float, revive: Callable[[], None]) -> None:
        """Read until every id was seen and nothing more comes, or for so long without any news. `revive` starts who has ended."""
        self._assign()
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            revive()
            records = self._consumer.consume(500, 2.0)
            for record in records:
                if record.error() is None:
                    self._note(record.topic() or "", dict(record.headers() or []))
                    deadline = time.monotonic() + within_s
            if not records and not self.verdict.lost(taken):
                return

    def ask_states(self, url: str, submitted: set[str], within_s: float, revive: Callable[[], None]) -> None:
        """Ask for every submission's state until it has ended, or for so long without any news. `revive` starts who has ended."""
        deadline = time.monotonic() + within_s
        waiting = sorted(submitted)
        with httpx.Client(timeout=10.0) as client:
            while waiting and time.monotonic() < deadline:
                revive()
                left = [name for name in waiting if not self._ended(client, url, name)]
                if len(left) < len(waiting):
                    deadline = time.monotonic() + within_s
                else:
                    time.sleep(_ASK_AGAIN_S)
                waiting = left

    def _ended(self, client: httpx.Client, url: str, name: str) -> bool:
        try:
            answer = client.get(f"{url}/predictions/{name}")
        except httpx.TransportError:
            return False
        if answer.status_code != 200:
            return False
        self.verdict.states[name] = answer.json()["state"]
        return self.verdict.states[name] in ("succeeded", "failed", "canceled")

    def where_it_stands(self, group: str) -> list[str]:
        """A line a partition: how far the group has got with the requests; what of the results is not committed yet."""
        lines = []
        settings = {"bootstrap.servers": self._bootstrap, "log_level": 0}
        committed = Consumer({**settings, "group.id": group, "isolation.level": "read_committed"})
        all_of_it = Consumer({**settings, "group.id": "judge", "isolation.level": "read_uncommitted"})
        try:
            topics = committed.list_topics(timeout=30).topics
            for topic in (f"{MODEL}.requests", PREDICTIONS, DEAD_LETTERS):
                for number in sorted(topics[topic].partitions):
                    partition = TopicPartition(topic, number)
                    stable, end = (c.get_watermark_offsets(partition, timeout=30)[1] for c in (committed, all_of_it))
                    (position,) = committed.committed([partition], timeout=30)
                    read = f", the group at {position.offset}" if topic.endswith(".requests") else ""
                    lines.append(f"{topic}/{number}: stable {stable}, end {end}{read}")
        finally:
            committed.close()
            all_of_it.close()
        return lines

    def _assign(self) -> None:
        topics = self._consumer.list_topics(timeout=30).topics
        partitions = [(t, p) for t in (PREDICTIONS, DEAD_LETTERS) if t in topics for p in topics[t].partitions]
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in partitions])

    def _note(self, topic: str, headers: dict[str, bytes]) -> None:
        name = headers.get("ce_id", b"").decode()
        self.verdict.seen[topic][name] += 1
