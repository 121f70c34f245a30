"""`penstock-transformer retrain-trigger`: asks for a retraining when a log says that it is time.

settings, watch files -> Service (health and metrics) -> a turn over each model every `look_s` -> SIGTERM -> exit 0
`--once`: one turn over each model, no port, exit 0; 1 if a log could not be judged

Invariant: a watch file that cannot be carried out (a URL that is not allowed, a template that is no Job) is refused at the start.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client.core import Metric

from penstock.errors import PenstockError
from penstock.lifecycle import Lifecycle, StopPhase
from penstock.logs import configure
from penstock.serving.server import Service
from penstock.settings import parse
from penstock_transformer.bare_service import bare_service
from penstock_transformer.feedback.trigger.asking import open_asker
from penstock_transformer.feedback.trigger.bounds import open_watch
from penstock_transformer.feedback.trigger.metrics import families
from penstock_transformer.feedback.trigger.settings import TriggerSettings
from penstock_transformer.feedback.trigger.turn import Watcher
from penstock_transformer.part import Part, run_part
from penstock_transformer.settings import PREFIX

NAME = "retrain-trigger"
DESCRIPTION = "Watch prediction logs, and ask for a retraining when quality or drift passes its bound."

logger = logging.getLogger(__name__)


class TriggerPart(Part):
    """The watchers within the process."""

    def __init__(self, settings: TriggerSettings) -> None:
        super().__init__()
        self._settings = settings
        self.watchers: list[Watcher] = []
        self._turning: asyncio.Task[None] | None = None
        self._turned = False

    async def start(self) -> None:
        """Read the watch files. Raises InvalidInput, OSError."""
        self.watchers = open_watchers(self._settings)
        self._turning = asyncio.create_task(self._run())

    def reason(self) -> str | None:
        """Why it is not ready."""
        if not self._turned:
            return "has not looked yet"
        return next((f"{one.watch.model}: {one.fault}" for one in self.watchers if one.fault is not None), None)

    async def stop(self) -> None:
        """End the turn that is under way: what it asked for is remembered, or asked for again by the same id."""
        self.leaving = True
        if self._turning is not None:
            self._turning.cancel()
            await asyncio.gather(self._turning, return_exceptions=True)
        for watcher in self.watchers:
            watcher.close()

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        return families(self.watchers)

    async def _run(self) -> None:
        while True:
            try:
                await turn_all(self.watchers)
            except Exception as error:
                logger.error("a turn broke off", exc_info=error)
            self._turned = True
            await asyncio.sleep(self._settings.look_s)


def open_watchers(settings: TriggerSettings) -> list[Watcher]:
    """One for each watch file. Raises InvalidInput, OSError, UpstreamUnavailable."""
    watches = [open_watch(file) for file in settings.files]
    return [Watcher(Path(settings.log_dir), watch, open_asker(watch, settings)) for watch in watches]


async def turn_all(watchers: Sequence[Watcher]) -> None:
    """A turn over each, one after the other: a log is read by one core."""
    for watcher in watchers:
        await watcher.turn()


def build(settings: TriggerSettings) -> tuple[Service, TriggerPart]:
    """The service of the process, and the trigger in it."""
    lifecycle, trigger = Lifecycle(), TriggerPart(settings)
    lifecycle.on_start("retrain trigger", trigger.start)
    lifecycle.add_check("retrain trigger", trigger.reason)
    lifecycle.on_stop("retrain trigger", trigger.stop, StopPhase.FINISH)
    return bare_service(settings, lifecycle, trigger.families, title="Penstock retrain trigger"), trigger


def turn_once(settings: TriggerSettings) -> int:
    """One turn over each model; the exit status."""
    try:
        watchers = open_watchers(settings)
    except (PenstockError, OSError) as error:
        print(f"penstock-transformer {NAME}: {error}", file=sys.stderr)
        return 1
    asyncio.run(turn_all(watchers))
    for watcher in watchers:
        watcher.close()
    return int(any(watcher.fault is not None for watcher in watchers))


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 after a drain, 1 if it cannot go on, 2 for wrong options."""
    arguments = sys.argv[1:] if argv is None else argv
    settings = parse(
        TriggerSettings, arguments, os.environ, PREFIX, program=f"penstock-transformer {NAME}", description=DESCRIPTION
    )
    if not settings.once:
        run_part(TriggerSettings, build, arguments, name=NAME, description=DESCRIPTION)
        return
    configure(settings.log_level)
    if status := turn_once(settings):
        sys.exit(status)
