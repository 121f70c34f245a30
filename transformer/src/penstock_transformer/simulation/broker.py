"""A broker's behaviour in so far as exactly-once rests on it: transactions with epochs, groups with generations, stable offsets.

    producer: init -> begin -> produce* -> add_offsets -> end      an older epoch is fenced; what is open too long is aborted
    end:      decided, and durable -> marked in each log, later and in any order -> over
    group:    join -> sync -> (release | claim) -> leave    a partition goes to a new owner when the old one let it go or was
    given up

Every method is one step that happens or does not. It raises the errors of `broker.port`, as the adapters do.

Until its end is marked in a log, readers of that stop at a transaction's first record there, and offsets in the group's log are
not stable; until it is marked everywhere, its id begins no other. Of a partition's offsets the one that was written last counts,
whichever was marked first (Kafka, GroupMetadata.completePendingTxnOffsetCommit).

Invariant: it believes its clients no more than Kafka does: offsets are checked against member and generation, never against who
owns a partition.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from random import Random

from penstock_transformer.broker.port import Fenced, Rebalanced, Retriable, TooLargeForTopic
from penstock_transformer.broker.records import OutRecord, Partition, Record

TRANSACTION_S = 10.0
SESSION_S = 6.0
_GROUP = Partition("__consumer_offsets", 0)


class Concurrent(Retriable):
    """The end of this id's last transaction is still being marked: ask again."""


class End(Enum):
    """What became of a transaction."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass
class Transaction:
    """One transaction of one producer. `offsets`: by partition, the place in the group's log and the offset. `unmarked`: the
    logs, the group's too, that hold something of it and not its end."""

    began: float
    end: End = End.OPEN
    offsets: dict[Partition, tuple[int, int]] = field(default_factory=dict)
    unmarked: list[Partition] = field(default_factory=list)

    def is_in(self, log: Partition) -> None:
        """Its end is to be marked there, too."""
        if log not in self.unmarked:
            self.unmarked.append(log)


@dataclass
class Member:
    """A member of the group. `generation` is the one it knows."""

    name: str
    instance: str
    seen: float
    generation: int = -1


class SimBroker:
    """Logs, transactions and one consumer group. `up` false: every call raises Retriable, and nothing is marked. `marks`: the
    chance that one more end is marked whenever time passes."""

    def __init__(
        self, random: Random, topic: str, partitions: int, *, record_bytes: int, tells_place: bool, marks: float = 1.0
    ) -> None:
        self.up = True
        self.now = 0.0
        self.requests: dict[Partition, list[Record]] = {Partition(topic, number): [] for number in range(partitions)}
        self.log: dict[Partition, list[tuple[OutRecord, Transaction]]] = {}
        self.committed: dict[Partition, int] = {}
        self.checks_generations = True
        self.overtaken = 0
        self._random = random
        self._marks = marks
        self._record_bytes = record_bytes
        self._tells_place = tells_place
        self._epochs: dict[str, int] = {}
        self._transactions: dict[str, Transaction] = {}
        self._written = count()
        self._places: dict[Partition, int] = {}
        self.members: dict[str, Member] = {}
        self.generation = 0
        self.owners: dict[Partition, str] = {}
        self._target: dict[Partition, str] = {}
        self._names = count()

    # --- time

    def pass_time(self, now: float) -> None:
        """Mark some ends, abort what has been open too long, give up members that were silent too long."""
        self.now = now
        for name, transaction in list(self._transactions.items()):
            if transaction.end is not End.OPEN:
                self._mark(name, transaction)
            elif now - transaction.began > TRANSACTION_S:
                self._decide(name, End.ABORTED)
                self._epochs[name] += 1
        for member in list(self.members.values()):
            if now - member.seen > SESSION_S:
                self.leave(member.name)

    def add_partition(self, topic: str) -> None:
        """One more partition of the requests."""
        self.requests[Partition(topic, len(self.requests))] = []
        self._rebalance()

    def _reach(self) -> None:
        if not self.up:
            raise Retriable("the broker is away")

    # --- producers

    def init(self, name: str) -> int:
        """The epoch of a new owner of a transactional id: what is open is aborted. Raises Concurrent until that is marked."""
        self._reach()
        if name in self._transactions and self._transactions[name].end is End.OPEN:
            self._epochs[name] += 1
            self._decide(name, End.ABORTED)
        if name in self._transactions:
            raise Concurrent(name)
        self._epochs[name] = self._epochs.get(name, -1) + 1
        return self._epochs[name]

    def begin(self, name: str, epoch: int) -> None:
        """Begin a transaction. Raises Concurrent until the end of the one before is marked."""
        self._reach()
        self._fence(name, epoch)
        if name in self._transactions:
            raise Concurrent(name)
        self._transactions[name] = Transaction(self.now)

    def produce(self, name: str, epoch: int, record: OutRecord, at: int) -> None:
        """Write one record of a transaction."""
        self._reach()
        self._fence(name, epoch)
        if record.nbytes > self._record_bytes:
            raise TooLargeForTopic(f"{record.nbytes} bytes", at=at if self._tells_place else None)
        partition, transaction = Partition(record.topic, record.partition or 0), self._transactions[name]
        transaction.is_in(partition)
        self.log.setdefault(partition, []).append((record, transaction))

    def add_offsets(self, name: str, epoch: int, member: tuple[str, int], offsets: Mapping[Partition, int]) -> None:
        """Offsets into the transaction."""
        self._reach()
        self._fence(name, epoch)
        known = self.members.get(member[0])
        if self.checks_generations and (known is None or member[1] != self.generation):
            raise Rebalanced(f"generation {member[1]}, not {self.generation}")
        transaction = self._transactions[name]
        transaction.is_in(_GROUP)
        transaction.offsets.update({partition: (next(self._written), offset) for partition, offset in offsets.items()})

    def end(self, name: str, epoch: int, end: End) -> None:
        """Commit or abort: durable once this returns, marked later."""
        self._reach()
        self._fence(name, epoch)
        if name in self._transactions and self._transactions[name].end is End.OPEN:
            self._decide(name, end)

    def _fence(self, name: str, epoch: int) -> None:
        if self._epochs[name] != epoch:
            raise Fenced(f"epoch {epoch}, not {self._epochs[name]}")

    def _decide(self, name: str, end: End) -> None:
        transaction = self._transactions[name]
        transaction.end = end
        if not transaction.unmarked:
            del self._transactions[name]

    def _mark(self, name: str, transaction: Transaction) -> None:
        """Some of its logs, in any order."""
        while self.up and transaction.unmarked and self._random.random() < self._marks:
            log = transaction.unmarked.pop(int(self._random.random() * len(transaction.unmarked)))
            if log == _GROUP and transaction.end is End.COMMITTED:
                self._commit(transaction)
        if not transaction.unmarked:
            del self._transactions[name]

    def _commit(self, transaction: Transaction) -> None:
        for partition, (place, offset) in transaction.offsets.items():
            if self.is_newest(partition, place):
                self._places[partition], self.committed[partition] = place, offset
            else:
                self.overtaken += 1

    def is_newest(self, partition: Partition, place: int) -> bool:
        """Whether no offset of this partition that was written later is marked already."""
        return place > self._places.get(partition, -1)

    # --- readers

    def read(self, partition: Partition, position: int) -> tuple[int, list[OutRecord]]:
        """What a `read_committed` reader sees from this position on, and the position after that: it stops at the first record
        whose transaction's end is not marked here."""
        found: list[OutRecord] = []
        log = self.log[partition]
        while position < len(log) and partition not in log[position][1].unmarked:
            record, transaction = log[position]
            if transaction.end is End.COMMITTED:
                found.append(record)
            position += 1
        return position, found

    # --- the group

    def stable(self, partition: Partition) -> bool:
        """Whether no transaction whose end the group has not marked holds an offset of this partition."""
        return not any(partition in each.offsets and _GROUP in each.unmarked for each in self._transactions.values())

    def join(self, instance: str) -> str:
        """A new member; one of the same instance is replaced, and its partitions are free."""
        self._reach()
        for member in list(self.members.values()):
            if member.instance == instance:
                self.leave(member.name)
        name = f"member-{next(self._names)}"
        self.members[name] = Member(name, instance, self.now)
        self._rebalance()
        return name

    def leave(self, name: str) -> None:
        """A member is gone, by itself or given up."""
        if self.members.pop(name, None) is not None:
            self.owners = {partition: owner for partition, owner in self.owners.items() if owner != name}
            self._rebalance()

    def sync(self, name: str) -> tuple[int, set[Partition]]:
        """The generation, and what this member shall have. Raises Retriable, or Rebalanced if it is no member any more."""
        self._reach()
        member = self.members.get(name)
        if member is None:
            raise Rebalanced("no member")
        member.seen = self.now
        member.generation = self.generation
        return self.generation, {partition for partition, owner in self._target.items() if owner == name}

    def release(self, name: str, partitions: set[Partition]) -> None:
        """A member has let these go."""
        for partition in partitions:
            if self.owners.get(partition) == name:
                del self.owners[partition]
        self.generation += 1

    def claim(self, name: str) -> set[Partition]:
        """What is meant for this member and free, is its own from now on."""
        found = {partition for partition, owner in self._target.items() if owner == name and partition not in self.owners}
        for partition in found:
            self.owners[partition] = name
        return found

    def rebalance(self) -> None:
        """Deal the partitions anew, without a reason."""
        self._rebalance()

    def _rebalance(self) -> None:
        self.generation += 1
        names = list(self.members)
        self._random.shuffle(names)
        self._target = {p: names[at % len(names)] for at, p in enumerate(self.requests)} if names else {}
