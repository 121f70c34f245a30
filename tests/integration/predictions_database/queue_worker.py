"""A process that drains the table with the worker's machine and shell until it is told to end: `queue_worker.py URL [LEASE_S]`.

Each prediction's result is its input, behind the process's own number, so that a test sees who made it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence

from penstock_transformer.broker.records import OutRecord, Record
from penstock_transformer.predictions.database.opening import open_predictions
from penstock_transformer.predictions.queue import TableQueue
from penstock_transformer.worker.outcomes import Answered, Outcome
from penstock_transformer.worker.shell import WorkerShell


class Echo:
    """Answers with what was asked."""

    def submit(self, records: Sequence[Record], done: Callable[[Record, Outcome], None]) -> None:
        for record in records:
            headers = (
                ("ce_id", record.header("ce_id") or b""),
                ("content-type", b"text/plain"),
                ("penstock-bundle", b"m@sha256:1"),
            )
            value = b"%d:%b" % (os.getpid(), record.value or b"")
            done(record, Answered(OutRecord("m.predictions", record.key, value, headers)))

    def crashed(self, record: Record, attempts: int) -> OutRecord:
        raise AssertionError(record)

    def too_large(self, record: Record, message: str) -> OutRecord:
        raise AssertionError(record)

    async def healthy(self) -> bool:
        return True


async def main(url: str, lease_s: float) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    predictions = open_predictions(url)
    await predictions.start()
    queue = TableQueue(predictions, "m", loop, lease_s=lease_s)
    shell = WorkerShell(queue.intake(), queue.outlet(), Echo(), [queue.topic])
    await shell.start()
    print("draining", flush=True)
    await ended.wait()
    await shell.drain(10.0)
    await shell.close()
    await predictions.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 10.0))
