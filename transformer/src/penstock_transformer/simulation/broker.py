"""A broker's behaviour in so far as exactly-once rests on it: transactions with epochs, groups with generations, stable offsets.

    producer: init -> produce* -> add_offsets -> end        an older epoch is fenced; what is open too long is aborted
    group:    join -> sync -> (release | claim) -> leave    a partition goes to a new owner when the old one let it go or was
    given up

Every method is one step that happens or does not. It raises the errors of `broker.port`, as the adapters do.

Invariant: it believes its clients no more than Kafka does: offsets are checked against member and generation, never against who
owns a partition.
"""

from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from random import Random

from penstock_transformer.broker.port import Fenced, Rebalanced, Retriable, TooLargeForTopic
from penstock_transformer.broker.records import OutRecord, Partition, Record

TRANSACTION_S = 10.0
SESSION_S = 6.0


class End(Enum):
    """What became of a transaction."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass
class Transaction:
    """One transaction of one producer."""

    began: float
    end: End = End.OPEN
    offsets: dict[Partition, int] = field(default_factory=dict)


@dataclass
class Member:
    """A member of the group. `generation` is the one it knows."""

    name: str
    instance: str
    seen: float
    generation: int = -1


class SimBroker:
    """Logs, transactions and one consumer group. `up` false: every call raises Retriable."""

    def __init__(self, random: Random, topic: str, partitions: int, *, record_bytes: int, tells_place: bool) -> None:
        self.up = True
        self.now = 0.0
        self.requests: dict[Partition, list[Record]] = {Partition(topic, number): [] for number in range(partitions)}
        self.log: dict[Partition, list[tuple[OutRecord, Transaction]]] = {}
        self.committed: dict[Partition, int] = {}
        self.checks_generations = True
        self._random = random
        self._record_bytes = record_bytes
        self._tells_place = tells_place
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Transaction] = {}
        self.members: dict[str, Member] = {}
        self.generation = 0
        self.owners: dict[Partition, str] = {}
        self._target: dict[Partition, str] = {}
        self._names = count()

    # --- time

    def pass_time(self, now: float) -> None:
        """Abort what has been open too long, give up members that were silent too long."""
        self.now = now
        for name, transaction in list(self._open.items()):
            if now - transaction.began > TRANSACTION_S:
                self._end(name, End.ABORTED)
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
        """The epoch of a new owner of a transactional id: what is open is aborted."""
        self._reach()
        if name in self._open:
            self._end(name, End.ABORTED)
        self._epochs[name] = self._epochs.get(name, -1) + 1
        return self._epochs[name]

    def produce(self, name: str, epoch: int, record: OutRecord, at: int) -> None:
        """Write one record of a transaction, which begins with it."""
        self._reach()
        transaction = self._transaction(name, epoch)
        if record.nbytes > self._record_bytes:
            raise TooLargeForTopic(f"{record.nbytes} bytes", at=at if self._tells_place else None)
        partition = Partition(record.topic, record.partition or 0)
        self.log.setdefault(partition, []).append((record, transaction))

    def add_offsets(self, name: str, epoch: int, member: tuple[str, int], offsets: dict[Partition, int]) -> None:
        """Offsets into the transaction."""
        self._reach()
        transaction = self._transaction(name, epoch)
        known = self.members.get(member[0])
        if self.checks_generations and (known is None or member[1] != self.generation):
            raise Rebalanced(f"generation {member[1]}, not {self.generation}")
        transaction.offsets.update(offsets)

    def end(self, name: str, epoch: int, end: End) -> None:
        """Commit or abort."""
        self._reach()
        self._fence(name, epoch)
        if name in self._open:
            self._end(name, end)

    def _transaction(self, name: str, epoch: int) -> Transaction:
        self._fence(name, epoch)
        return self._open.setdefault(name, Transaction(self.now))

    def _fence(self, name: str, epoch: int) -> None:
        if self._epochs[name] != epoch:
            raise Fenced(f"epoch {epoch}, not {self._epochs[name]}")

    def _end(self, name: str, end: End) -> None:
        transaction = self._open.pop(name)
        transaction.end = end
        if end is End.COMMITTED:
            self.committed.update(transaction.offsets)

    # --- the group

    def stable(self, partition: Partition) -> bool:
        """Whether no open transaction holds an offset of this partition."""
        return not any(partition in transaction.offsets for transaction in self._open.values())

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
