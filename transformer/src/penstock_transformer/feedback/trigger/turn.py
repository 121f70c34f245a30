"""One turn of the trigger over one model: what has come of the last retraining, whether a window is complete, what is due.

    remembered -> progress? -> a new window? look -> due? ask -> remembered

Level-triggered: a turn does whatever is due by what is remembered, however long ago the last one was. Memory is written before
anybody is asked, and after: who dies in between asks again, by the same id.
"""

import asyncio
import logging
import time
from collections import Counter
from pathlib import Path

from penstock.errors import Conflict, PenstockError
from penstock.failpoints import failpoint
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.trigger.asking import Asker
from penstock_transformer.feedback.trigger.bounds import Watch
from penstock_transformer.feedback.trigger.bundles import Bundles
from penstock_transformer.feedback.trigger.look import Look
from penstock_transformer.feedback.trigger.looking import look_at
from penstock_transformer.feedback.trigger.machine import Memory, after_attempt, after_look, after_progress, to_ask
from penstock_transformer.feedback.trigger.memory_file import MemoryFile
from penstock_transformer.feedback.trigger.window import latest

logger = logging.getLogger(__name__)


class Watcher:
    """One model's. `look` is the last one, `memory` what is remembered, `counts` what has come of attempts, by outcome; `fault`:
    why the last turn broke off, None if it did not."""

    def __init__(self, root: Path, watch: Watch, asker: Asker | None) -> None:
        self.watch = watch
        self.folder = LogFolder(root, watch.model)
        self.memory = Memory()
        self.look: Look | None = None
        self.fault: str | None = None
        self.counts: Counter[str] = Counter()
        self._file = MemoryFile(self.folder)
        self._bundles = Bundles(watch.bundles, watch.model)
        self._asker = asker

    async def turn(self) -> None:
        """Do what is due. Never raises but for cancellation: what went wrong is in `fault`, and tried again at the next turn."""
        try:
            with self._file.held():
                await self._turn()
            self.fault = None
        except Conflict as error:
            # Somebody else does it.
            logger.info("another watcher is at work", extra={"model": self.watch.model, "reason": error.message})
            self.fault = None
        except (PenstockError, OSError) as error:
            self.fault = str(error)
            logger.warning("the log cannot be watched at present", extra={"model": self.watch.model, "reason": str(error)})

    async def _turn(self) -> None:
        memory = self._file.read()
        self.memory = memory
        one = memory.retraining
        if one is not None and one.accepted_s is not None and one.ended_s is None:
            progress = None if self._asker is None else await self._asker.progress(one)
            memory = self._keep(memory, after_progress(memory, self.watch, progress, time.time()))
        memory = await self._look(memory)
        due = to_ask(memory, time.time())
        if due is not None and self._asker is not None:
            settled = await self._asker.ask(due)
            failpoint("trigger.asked")
            self.counts[settled.outcome] += 1
            after = after_attempt(memory, settled.outcome, time.time(), settled.again_s, settled.reason)
            self._keep(memory, after)
            level = logging.INFO if settled.outcome == "delivered" else logging.WARNING
            extra = {"model": due.model, "bundle": due.label, "request_id": due.id, "attempt": due.attempts + 1}
            logger.log(
                level, "retraining asked for", extra=extra | {"outcome": settled.outcome, "reason": settled.reason or None}
            )

    async def _look(self, memory: Memory) -> Memory:
        watch, now = self.watch, time.time()
        window = latest(now, length_s=watch.window_s, every_s=watch.every_s, delay_s=watch.delay_s)
        if memory.judged is not None and memory.judged.until >= window.until:
            return memory
        self.look = look = await asyncio.to_thread(look_at, self.folder, watch, self._bundles, window, now)
        # Without an action bounds are only shown; whether somebody retrains is asked only where it decides something.
        busy = self._asker is None or (bool(look.passed) and await self._asker.busy())
        after = after_look(memory, watch, look, now, busy=busy)
        passed = "; ".join(finding.text for finding in look.passed)
        extra = {"model": watch.model, "bundle": look.label, "reason": look.note or passed or "within bounds"}
        logger.info("window judged", extra=extra)
        return self._keep(memory, after)

    def _keep(self, before: Memory, after: Memory) -> Memory:
        if after != before:
            self._file.write(after)
        self.memory = after
        return after

    def close(self) -> None:
        """Release what it holds."""
        if self._asker is not None:
            self._asker.close()
