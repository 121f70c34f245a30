"""The batcher: requests that wait at the same moment become one run, the most urgent first, within bounds of items and bytes.

`queue` is the state machine (no I/O, no clock of its own) over a `lane` for each priority class, `policy` the bounds, `rate` the
recent speed from which a refused caller learns when to come back, `pressure` what shells see of refusals, `batcher` the thin
asyncio shell, `worker` its thread, `tasks` its coroutines, `answering` how answers are written, `work` what it asks of a caller's
work.
"""

from penstock.batcher.batcher import Batcher
from penstock.batcher.policy import BatchPolicy
from penstock.batcher.pressure import Pressure
from penstock.batcher.queue import Batch, DeadlineQueue
from penstock.batcher.work import BatchMetrics, Work

__all__ = ["Batch", "BatchMetrics", "BatchPolicy", "Batcher", "DeadlineQueue", "Pressure", "Work"]
