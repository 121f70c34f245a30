"""The port to a broker: blocking calls, each made from one thread. `kafka_python` and `confluent` implement it, and so does the
predictions table (`penstock_transformer.predictions`), which is the queue where there is no broker.

    Intake  --Record-->  the part  --(records, offsets, group)-->  Outlet

What a client raises is turned into the four errors below, at the client's edge and nowhere else:

    Retriable    nothing was committed, and the same call may work later: coordinator moved, time-out while sending, broker away
    InDoubt      the commit's answer was lost: it may or may not have happened. Ask `Intake.committed` after `Outlet.restore`.
    Fenced       another took over (a newer producer with our transactional id, a newer generation of the group): stop
      Rebalanced   only the group's generation is newer: nothing was committed, the outlet works on as it is. After another `poll`
                 what is still ours may be committed with the `group()` of then; a part that does not tell them apart stops
    BrokerError  anything else, for instance a record over the topic's limit (`TooLargeForTopic`) or no right to the topic
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.errors import UpstreamUnavailable
from penstock_transformer.broker.records import OutRecord, Partition, Record


class BrokerError(UpstreamUnavailable):
    """The broker refuses, for a reason that waiting does not mend."""

    retryable = False


class TooLargeForTopic(BrokerError):
    """A record is over what the topic or the broker takes. `at` is its place among the records given, None if unknown."""

    def __init__(self, message: str, *, at: int | None = None) -> None:
        super().__init__(message)
        self.at = at


class Retriable(BrokerError):
    """Nothing was committed; the same may work later."""

    retryable = True


class InDoubt(Retriable):
    """Whether the commit happened is not known."""


class Fenced(BrokerError):
    """Somebody newer works in our place."""


class Rebalanced(Fenced):
    """The group has moved on since we asked for `Intake.group`: the offsets were refused, and with them the whole commit."""


class Assignment(Protocol):
    """Told of the group's changes, from inside `Intake.poll` or `close`. The thread that polls makes the call, or waits while
    another makes it: what it does needs no lock against that thread, and must not wait for it. It may block."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """These are ours from now on, beside those that are; reading begins at the committed offset."""

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """These go to another member once this returns: a commit that is under way for them is awaited here."""

    def lost(self, partitions: Sequence[Partition]) -> None:
        """These have gone to another member already: nothing of theirs can be committed any more."""


class Intake(Protocol):
    """A member of a consumer group that reads `read_committed`, from the earliest record where nothing was committed yet."""

    def subscribe(self, topics: Sequence[str], assignment: Assignment) -> None:
        """Join; partitions come and go during `poll`. New partitions of a topic are noticed within the metadata's age.

        One topic alone that begins with `^` is a regular expression: every topic that it matches, new ones noticed likewise."""

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records of partitions that are ours and not paused, in offset order within each. Raises BrokerError, Retriable."""

    def wake(self) -> None:
        """Make a `poll` that waits return early. The one method that any thread may call."""

    def pause(self, partitions: Sequence[Partition]) -> None: ...

    def resume(self, partitions: Sequence[Partition]) -> None: ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from this offset."""

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """The group's committed offsets (the next record to read); waits for transactions that are still open on them."""

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The last stable offsets: what a `read_committed` reader can reach."""

    def group(self) -> Any:
        """The group's metadata of this moment, for `Outlet.commit`: it fences by generation."""

    def close(self) -> None:
        """Leave the group (a static member: without a rebalance)."""


class Outlet(Protocol):
    """Where results and offsets go together. Used by one thread at a time; one `commit` at a time."""

    def open(self) -> None:
        """Take the transactional id over: what an earlier owner left open is aborted, the owner fenced. Raises Retriable."""

    def commit(self, records: Sequence[OutRecord], offsets: Mapping[Partition, int], group: Any) -> None:
        """Write all records and the group's offsets (the next to read), or nothing of it, and return when it is durable.

        Raises Retriable, InDoubt (then `restore` before the next), Fenced, TooLargeForTopic.
        """

    def restore(self) -> None:
        """After Retriable or InDoubt: a producer that works again under the same id, with what was open committed or aborted."""

    def close(self) -> None: ...


class Producer(Protocol):
    """Writes records that belong to no offsets: replayed dead letters, for instance."""

    def send(self, records: Sequence[OutRecord]) -> None:
        """Write all of them, each once even where a request is repeated, and return when all brokers asked have them. Raises
        Retriable, TooLargeForTopic (some may be written)."""

    def close(self) -> None: ...


class Reader(Protocol):
    """Reads topics from end to end without a group: compacted ones, or to look into them."""

    def read(self, topic: str, start: Mapping[Partition, int] | None = None) -> Iterator[Record]:
        """What readers that are `read_committed` can see of a topic at the moment of this call, in offset order within each
        partition, beginning at `start` where that names the partition, else at its first record."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TopicState:
    """What a topic is. `settings`, by Kafka's own names: those in force; for `Admin.create` those that are to be set."""

    name: str
    partitions: int
    replication: int
    settings: dict[str, str]


class Admin(Protocol):
    """Topics, and where groups stand."""

    def topics(self, names: Sequence[str]) -> dict[str, TopicState]:
        """The topics of these that exist."""

    def create(self, topic: TopicState) -> None:
        """Make it, and wait until it can be used; one that is there already is left as it is."""

    def ends(self, topics: Sequence[str]) -> dict[Partition, tuple[int, int]]:
        """First and last stable offset of every partition: what there is for `read_committed` readers lies between."""

    def committed(self, group: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """A group's offsets in those of these where it has any; waits for no transaction."""

    def close(self) -> None: ...
