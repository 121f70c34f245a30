"""The thread that reads: it polls, and between two polls it pauses, resumes and asks what the machine wants of the group.

    Intake.poll --Assigned, Revoked, Lost (from inside), then Polled--> tell        command() --> between two polls

The group's membership is taken at the moments at which everything that the group has decided has been told: after a poll, and
where partitions were assigned. So a commit never carries a newer generation than the ownership that its batch was made under,
and the broker refuses it if that has ended.

Records that come one by one are not worth a turn of the pipeline each: after a poll that brought few the next one waits for a
moment, and brings those of that moment together. One that comes alone is read at once.

Invariant: at most `AHEAD` polls' records are handed over and not yet taken; a partition is given up only when the machine lets
it go.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from penstock_transformer.backoff import Backoff
from penstock_transformer.broker.port import BrokerError, Intake, Retriable
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.worker.events import Assigned, CommittedOffsets, Event, Lost, Polled, Revoked

logger = logging.getLogger(__name__)

AHEAD = 2
# A poll that brought so many is followed by the next at once: there is enough to do as it is.
_MANY = 100

Tell = Callable[[Event, Any], None]
"""An event and, if it is known anew, the group's membership (else None). Called on the thread that reads."""


class IntakeThread:
    """`tell` takes each event, `failed` the error that ended the reading; both are called on this thread. `release` is asked
    to call back when revoked partitions may go. `gather_s`: how long records are gathered after a poll that brought few."""

    def __init__(
        self,
        intake: Intake,
        topics: Sequence[str],
        *,
        tell: Tell,
        release: Callable[[Sequence[Partition], Callable[[], None]], None],
        failed: Callable[[Exception], None],
        poll_records: int = 500,
        poll_s: float = 1.0,
        release_s: float = 30.0,
        gather_s: float = 0.0,
    ) -> None:
        self._intake = intake
        self._topics = topics
        self._tell = tell
        self._release = release
        self._failed = failed
        self._poll_records = poll_records
        self._poll_s = poll_s
        self._release_s = release_s
        self._gather_s = gather_s
        self._many = min(_MANY, poll_records)
        self._ours: set[Partition] = set()
        self._gone: set[Partition] = set()
        self._commands: deque[Callable[[], None]] = deque()
        self._handed = threading.Semaphore(AHEAD)
        self._stopping = threading.Event()
        self._backoff = Backoff()
        self._random = Random()
        self._thread = threading.Thread(target=self._run, name="worker-intake", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def taken(self) -> None:
        """A `Polled` has been dealt with. Any thread."""
        self._handed.release()

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Read no more of these, soon. Any thread."""
        # Nothing waits for a pause: it takes effect before the next poll, and what comes until then is bounded.
        self._commands.append(lambda: self._intake.pause([p for p in partitions if p in self._ours]))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Read these again, at once. Any thread."""
        self._command(lambda: self._intake.resume([p for p in partitions if p in self._ours]))

    def regroup(self) -> None:
        """Tell the group's membership of now, soon. Any thread."""
        self._intake.wake()

    def ask_committed(self, partitions: Sequence[Partition]) -> None:
        """Tell the committed offsets of these. Any thread."""
        self._command(lambda: self._tell(CommittedOffsets(self._committed(partitions)), None))

    def stop(self) -> None:
        """Leave the group and end. Any thread."""
        self._stopping.set()
        self._handed.release()
        self._intake.wake()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came."""
        if self._thread.ident is None:  # never started
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- on the thread

    def _command(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        self._intake.wake()

    def _run(self) -> None:
        try:
            self._intake.subscribe(self._topics, self)
            self._read()
        except Exception as error:
            self._failed(error)
        try:
            self._intake.close()
        except Exception as error:
            logger.warning("the group could not be left in order", extra={"reason": str(error)})

    def _read(self) -> None:
        failures = 0
        while True:
            self._handed.acquire()
            if self._stopping.is_set():
                return
            while self._commands:
                self._commands.popleft()()
            try:
                records = self._intake.poll(self._poll_s, self._poll_records)
            except Retriable as error:
                failures += 1
                if failures == 1:
                    logger.warning("records cannot be read at present", extra={"reason": str(error)})
                self._handed.release()
                self._stopping.wait(self._backoff.delay_s(failures, self._random))
                continue
            failures = 0
            if self._gone:
                records = self._without_gone(records)
            self._tell(Polled(records), self._group())
            if self._gather_s and 0 < len(records) < self._many:
                self._stopping.wait(self._gather_s)

    def _without_gone(self, records: list[Record]) -> list[Record]:
        """A poll may have brought records of a partition before it was taken from us in the same poll. They are left out; one
        that came back at once is read again from its committed offset, since where the client stands in it is not certain."""
        gone, self._gone = self._gone, set()
        again = gone & self._ours & {record.partition for record in records}
        for partition, offset in (self._intake.committed(sorted(again)) if again else {}).items():
            self._intake.seek(partition, offset or 0)
        return [record for record in records if record.partition not in gone]

    def _group(self) -> Any:
        """The membership as it is now; None if there is none at present: then the one before is used, and refused if it is
        over."""
        try:
            return self._intake.group()
        except BrokerError:
            return None

    def _committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None] | None:
        try:
            return self._intake.committed(partitions)
        except Retriable as error:
            logger.warning("committed offsets cannot be asked for at present", extra={"reason": str(error)})
            return None

    # --- broker.port.Assignment, called from inside of poll

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Tell the machine."""
        self._ours.update(partitions)
        self._tell(Assigned(tuple(partitions)), self._group())

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Tell the machine, and return when it lets them go."""
        self._ours.difference_update(partitions)
        self._gone.update(partitions)
        self._tell(Revoked(tuple(partitions)), None)
        free = threading.Event()
        self._release(tuple(partitions), free.set)
        if not free.wait(self._release_s):
            logger.warning("partitions are given up while a commit is under way", extra={"partitions": len(partitions)})

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Tell the machine."""
        self._ours.difference_update(partitions)
        self._gone.update(partitions)
        self._tell(Lost(tuple(partitions)), None)
