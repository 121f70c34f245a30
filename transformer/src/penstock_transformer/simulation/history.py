"""One history by its number: topics, records, workers, a schedule and its faults, all drawn from one seed; then calm, and the
check.

    faults: crash between two effects, pause and continue (a zombie), broker down, lost commit answers, predictor killed or away,
    rebalances, drains, partitions added, records that poison, are invalid or grow

Once the faults have stopped every record must get its output: a history that comes to a halt has failed too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from penstock_transformer.backoff import Backoff
from penstock_transformer.broker.records import OutRecord, Partition, Record
from penstock_transformer.simulation.broker import SimBroker
from penstock_transformer.simulation.checker import faults
from penstock_transformer.simulation.predictor import GROWS, INVALID, POISON, SimLetters, SimPredictor
from penstock_transformer.simulation.process import Crashed, SimProcess
from penstock_transformer.worker.machine import Letters, Machine
from penstock_transformer.worker.policy import Policy

TOPIC = "m.requests"
RECORD_BYTES = 2000
_FAULT_STEPS = 1500
_CALM_STEPS = 60_000
_READ_STEPS = 64

MakeMachine = Callable[[Policy, Letters, Random], Machine]


@dataclass
class Report:
    """What a history came to: `faults` says what was wrong, `events` what happened how often."""

    number: int
    faults: list[str]
    records: int = 0
    events: dict[str, int] = field(default_factory=dict)


class History:
    """`machine` makes the machine under test, `broker` may change the model's broker: both for tests of the checker."""

    def __init__(self, number: int, *, machine: MakeMachine = Machine, broker: Callable[[SimBroker], None] | None = None) -> None:
        self.number = number
        self.random = random = Random(number)
        self.now = 0.0
        self._steps = 0
        self.events: dict[str, int] = {}
        self._make = machine
        self._rate = random.choice((0.0, 0.002, 0.01, 0.03))
        self._loses_answers = random.choice((0.0, 0.05, 0.3))
        self.broker = SimBroker(
            random,
            TOPIC,
            random.randint(1, 4),
            record_bytes=RECORD_BYTES,
            tells_place=random.random() < 0.5,
            marks=random.choice((1.0, 0.5, 0.1)),
        )
        if broker is not None:
            broker(self.broker)
        self._policy = Policy(
            held_records=random.choice((3, 10, 40)),
            held_bytes=random.choice((3000, 10**6)),
            transaction_records=random.choice((1, 3, 20)),
            transaction_bytes=random.choice((500, 10**6)),
            interval_s=random.choice((0.0, 0.0, 0.05)),
            backoff=Backoff(0.05, 1.0),
        )
        self._kinds = random.choices((b"fine", POISON, INVALID, GROWS), (1, 0, 0, 0), k=1) + [
            kind for kind in (POISON, INVALID, GROWS) if random.random() < 0.4
        ]
        self._left = random.randint(5, 50)
        self._seen: dict[Partition, list[OutRecord]] = {}
        self._positions: dict[Partition, int] = {}
        self._predictors: dict[str, SimPredictor] = {}
        self.processes: dict[str, SimProcess] = {}
        for number_of in range(random.randint(1, 3)):
            self._start(f"worker-{number_of}")

    def run(self) -> Report:
        """Faults, then calm, then the check."""
        for _ in range(_FAULT_STEPS):
            self._pass()
            if self._left and self.random.random() < 0.1:
                self._produce()
            if self.random.random() < self._rate:
                self._fault()
            self._step()
        wrong = self._calm()
        for process in self.processes.values():
            self._retire(process)
        self._count("overtaken", self.broker.overtaken)
        wrong += faults(self.broker.requests, self._seen)
        return Report(self.number, wrong, sum(map(len, self.broker.requests.values())), self.events)

    def _count(self, what: str, count: int = 1) -> None:
        self.events[what] = self.events.get(what, 0) + count

    def _retire(self, process: SimProcess) -> None:
        """Its counts go into the report."""
        tally = process.machine.tally
        self._count("transactions", tally.transactions)
        for name, counts in (("commit", tally.aborts), ("letter", tally.letters)):
            for reason, count in counts.items():
                self._count(f"{name} {reason}", count)

    # --- records

    def _produce(self) -> None:
        self._left -= 1
        partition = self.random.choice(list(self.broker.requests))
        log = self.broker.requests[partition]
        kind = b"fine" if self.random.random() < 0.85 else self.random.choice(self._kinds)
        size = 3000 if self.random.random() < 0.05 else 10
        headers = [("ce_id", b"id-%d" % self.random.randint(0, 9))]
        if self.random.random() < 0.03:
            headers.append(("foreign", b"h" * 3000))
        # Offsets have gaps, as transactions of producers and compaction leave them.
        last = log[-1].offset if log else -1
        value = kind + b" " + b"v" * size
        log.append(
            Record(partition, last + self.random.choice((1, 1, 1, 2, 5)), int(self.now * 1000), b"key", value, tuple(headers))
        )

    def _read(self) -> bool:
        """What a `read_committed` reader of all outputs sees by now; whether it is at their end."""
        for partition in self.broker.log:
            self._positions[partition], found = self.broker.read(partition, self._positions.get(partition, 0))
            self._seen.setdefault(partition, []).extend(found)
        return all(self._positions[partition] == len(log) for partition, log in self.broker.log.items())

    # --- time and faults

    def _pass(self) -> None:
        self._steps += 1
        if self._steps % 4:
            self.now += self.random.random() * 0.01
            return
        idle = all(process.idle for process in self.processes.values())
        self.now += self.random.random() * (0.8 if idle else 0.01)
        self.broker.pass_time(self.now)
        if self._steps % _READ_STEPS == 0:
            self._read()

    def _step(self) -> None:
        processes = list(self.processes.values())
        process = processes[int(self.random.random() * len(processes))]
        if process.paused_until > self.now:
            self.now += 0.05
            return
        try:
            process.step(self.now)
        except Crashed:
            self._crash(process.name)
            return
        if process.ended is not None:
            self._count(process.ended.reason.split(":")[0])
            process.close()
            self._start(process.name)

    def _start(self, name: str) -> None:
        predictor = self._predictors.setdefault(name, SimPredictor(self.random, kills_left=2))
        predictor.forget()
        if name in self.processes:
            self._retire(self.processes[name])
        machine = self._make(self._policy, SimLetters(), self.random)
        self.processes[name] = SimProcess(name, machine, self.broker, predictor, self.random, loses_answers=self._loses_answers)

    def _crash(self, name: str) -> None:
        self._count("crash")
        self._start(name)

    def _fault(self) -> None:
        process = self.random.choice(list(self.processes.values()))
        kind = self.random.choice(("crash", "crash at effect", "pause", "broker", "predictor", "rebalance", "drain", "partition"))
        self._count(kind)
        if kind == "crash":
            self._crash(process.name)
        elif kind == "crash at effect":
            process.crash_at_effect = self.random.randint(0, 3)
        elif kind == "pause":
            process.paused_until = self.now + self.random.random() * 15
        elif kind == "broker":
            self.broker.up = not self.broker.up
        elif kind == "predictor":
            process.kill_predictor(self.now)
        elif kind == "rebalance":
            self.broker.rebalance()
        elif kind == "drain":
            process.drain(self.now + self.random.random() * 2)
        elif len(self.broker.requests) < 6:
            self.broker.add_partition(TOPIC)

    def _done(self) -> bool:
        broker = self.broker
        return (
            all(
                not log or (broker.committed.get(partition, 0) > log[-1].offset and broker.stable(partition))
                for partition, log in broker.requests.items()
            )
            and self._read()
        )

    def _calm(self) -> list[str]:
        """No more faults: everything must come to its end."""
        self.broker.up = True
        self._loses_answers = 0.0
        for process in self.processes.values():
            process.loses_answers = 0.0
            process.crash_at_effect = None
        while self._left:
            self._produce()
        for _ in range(_CALM_STEPS):
            self._pass()
            self._step()
            if self._steps % 16 == 0 and self._done():
                return []
        return [f"came to a halt: committed {self.broker.committed}, read to {self._positions}"]
