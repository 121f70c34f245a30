"""The repository watched: what appears is loaded, what changes is loaded anew, what goes is unloaded, all while serving.

    every poll: marks of all places --Settling--> models that have settled on something new --> renew | vanish

Files arrive one by one, and a copy may be seen half-way. So a change counts only once two polls in a row see the same marks;
what was then loaded while files still changed is thrown away (`reloading`), and a bundle's own digests have the last word.

Invariants: what failed is not tried again until its files change; a repository that cannot be read, or is all empty, changes
nothing: a volume that comes off must not take the models with it.
"""

import asyncio
import logging
from collections.abc import Mapping

from penstock.errors import PenstockError
from penstock_predictor.reloading import PredictorRepository

log = logging.getLogger(__name__)

Marks = Mapping[str, Mapping[str | None, str]]
"""By model and version: a text that changes when the files do, empty while they cannot be read."""


class Settling:
    """The state machine without I/O: marks in, models to renew and models that are gone out."""

    def __init__(self) -> None:
        self._last: Marks = {}

    def observe(self, now: Marks, held: Marks) -> tuple[list[str], list[str]]:
        """Models whose places differ from those `held`, and models that are gone; each only if the last poll saw the same."""
        last, self._last = self._last, now
        changed = [
            model
            for model, versions in now.items()
            if versions == last.get(model) and versions != held.get(model) and all(versions.values())
        ]
        gone = [model for model in held if model not in now and model not in last] if now else []
        return changed, gone


class Watcher:
    """Polls a repository until it is stopped. `poll_s` is the time between the end of one look and the next."""

    def __init__(self, repository: PredictorRepository, poll_s: float) -> None:
        self._repository = repository
        self._poll_s = poll_s
        self._settling = Settling()
        self._task: asyncio.Task[None] | None = None
        self._trouble = ""

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="repository watch")

    async def stop(self) -> None:
        """Stop polling; a load that is under way is given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.poll()
            except Exception as error:
                log.error("watching the repository failed", exc_info=error)

    async def poll(self) -> None:
        """Look once, and follow what has settled."""
        try:
            now = await self._repository.look()
        except PenstockError as error:
            if str(error) != self._trouble:
                log.warning("repository cannot be read", extra={"reason": str(error)})
            self._trouble = str(error)
            return
        self._trouble = ""
        changed, gone = self._settling.observe(now, self._repository.held())
        for model in changed:
            log.info("model changed", extra={"model": model})
            try:
                await self._repository.renew(model)
            except PenstockError:
                # Said in the log and in the index by the load itself; what serves serves on.
                continue
        for model in gone:
            log.info("model is gone", extra={"model": model})
            await self._repository.vanish(model)
