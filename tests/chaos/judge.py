"""What became of every id, seen by a reader that shares nothing with us: confluent's consumer, `read_committed`, from the start.

Each id that was taken has exactly one record, in the predictions or in the dead letters; one of an HTTP submission has ended in
the database as well, as that record says. One that was canceled has no record if its request was never published, else one like
any other; it is canceled in the database if that is what the caller was told, and only then. No request is there twice.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
from cast import MODEL
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

# Between two rounds of asking in which nothing had ended.
_ASK_AGAIN_S = 0.5
REQUESTS, PREDICTIONS, DEAD_LETTERS = f"{MODEL}.requests", f"{MODEL}.predictions", f"{MODEL}.dead-letters"
_ENDS = {PREDICTIONS: "succeeded", DEAD_LETTERS: "failed"}
CANCELED = "canceled"


@dataclass
class Verdict:
    """`seen`: records an id by topic. `states`: an id's state in the database. `answers`: the state that a caller who canceled it
    was told. `reasons`: of dead letters."""

    seen: dict[str, Counter[str]] = field(
        default_factory=lambda: {REQUESTS: Counter(), PREDICTIONS: Counter(), DEAD_LETTERS: Counter()}
    )
    states: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    def lost(self, taken: set[str]) -> set[str]:
        """Ids without the record that is due to them."""
        return {name for name in taken if not self._records(name) and not self._withdrawn(name)}

    def doubled(self) -> set[str]:
        """Ids with more than one record, or more than one request."""
        names = {name for counts in self.seen.values() for name in counts}
        return {name for name in names if self._records(name) > 1 or self.seen[REQUESTS][name] > 1}

    def disagreeing(self, submitted: set[str]) -> set[str]:
        """Submissions whose state is not what their record says, or what a caller was told."""
        return {name for name in submitted if not self._agrees(name)}

    def canceled(self) -> Counter[str]:
        """Of those canceled: `before` their request was published, or `after`."""
        told = (name for name, answer in self.answers.items() if answer == CANCELED)
        return Counter("after" if self.seen[REQUESTS][name] else "before" for name in told)

    def _records(self, name: str) -> int:
        return sum(self.seen[topic][name] for topic in _ENDS)

    def _withdrawn(self, name: str) -> bool:
        return self.answers.get(name) == CANCELED and not self.seen[REQUESTS][name]

    def _agrees(self, name: str) -> bool:
        state, answer = self.states.get(name), self.answers.get(name)
        if answer is not None and state != answer:
            return False
        if state == CANCELED:
            return answer is not None
        return any(self.seen[topic][name] and state == end for topic, end in _ENDS.items())


class Judge:
    """Reads the topics as far as they go. `answers` are those of the cancellations."""

    def __init__(self, bootstrap: str, answers: Mapping[str, str]) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "judge",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self.verdict = Verdict(answers=dict(answers))
        self._bootstrap = bootstrap

    def close(self) -> None:
        self._consumer.close()

    def read_until_all(self, taken: set[str], within_s: float) -> None:
        """Read until every id was seen and nothing more comes, or for so long without any news."""
        self._assign()
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            records = self._consumer.consume(500, 2.0)
            for record in records:
                if record.error() is None:
                    self._note(record.topic() or "", dict(record.headers() or []))
                    deadline = time.monotonic() + within_s
            if not records and not self.verdict.lost(taken):
                return

    def ask_states(self, url: str, submitted: set[str], within_s: float) -> None:
        """Ask for every submission's state until it has ended, or for so long without any news."""
        deadline = time.monotonic() + within_s
        waiting = sorted(submitted)
        with httpx.Client(timeout=10.0) as client:
            while waiting and time.monotonic() < deadline:
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
        return self.verdict.states[name] in (*_ENDS.values(), CANCELED)

    def where_it_stands(self, group: str) -> list[str]:
        """A line a partition: how far the group has got with the requests; what of the results is not committed yet."""
        lines = []
        settings = {"bootstrap.servers": self._bootstrap, "log_level": 0}
        committed = Consumer({**settings, "group.id": group, "isolation.level": "read_committed"})
        all_of_it = Consumer({**settings, "group.id": "judge", "isolation.level": "read_uncommitted"})
        try:
            topics = committed.list_topics(timeout=30).topics
            for topic in self.verdict.seen:
                for number in sorted(topics[topic].partitions):
                    partition = TopicPartition(topic, number)
                    stable, end = (c.get_watermark_offsets(partition, timeout=30)[1] for c in (committed, all_of_it))
                    (position,) = committed.committed([partition], timeout=30)
                    read = f", the group at {position.offset}" if topic == REQUESTS else ""
                    lines.append(f"{topic}/{number}: stable {stable}, end {end}{read}")
        finally:
            committed.close()
            all_of_it.close()
        return lines

    def _assign(self) -> None:
        topics = self._consumer.list_topics(timeout=30).topics
        partitions = [(t, p) for t in self.verdict.seen if t in topics for p in topics[t].partitions]
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in partitions])

    def _note(self, topic: str, headers: dict[str, bytes]) -> None:
        name = headers.get("ce_id", b"").decode()
        self.verdict.seen[topic][name] += 1
        if topic == DEAD_LETTERS:
            self.verdict.reasons[headers.get("penstock-reason", b"").decode()] += 1
