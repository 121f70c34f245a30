"""What the worker, the relay, the sink and the updates are: a part that does a process's work, beside a service that tells of it.

    main -> run_part(settings, build) -> Service: health, metrics, lifecycle <-- hooks of the part
                                               part ended by itself -> SIGTERM -> drain -> exit with its status

Invariant: a process whose part has ended does not stay: whoever runs it sees a status other than 0, and starts it anew.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from penstock.serving.options import ServingSettings
from penstock.serving.server import Service, run
from penstock.settings import parse
from penstock_transformer.settings import PREFIX

S = TypeVar("S", bound=ServingSettings)

logger = logging.getLogger(__name__)


class Part:
    """One part from start to stop. `status` is what the process exits with; `leaving` is set by whoever was asked to stop it."""

    def __init__(self) -> None:
        self.status = 0
        self.leaving = False

    def ended(self, status: int = 1) -> None:
        """It ended: unless somebody asked for that, the process has nothing to do any more, and goes as a signal sends it."""
        if not self.leaving:
            self.status = status or 1
            signal.raise_signal(signal.SIGTERM)

    def ends_with(self, running: "asyncio.Task[None]", event: str) -> None:
        """It ends when this task does, unless that was cancelled; a fault of the task is logged as `event`."""
        running.add_done_callback(partial(self._ran, event))

    def _ran(self, event: str, running: "asyncio.Task[None]") -> None:
        if running.cancelled():
            return
        error = running.exception()
        if error is not None:
            logger.error(event, exc_info=error)
        self.ended()


def run_part(
    settings_class: type[S],
    build: Callable[[S], tuple[Service, Part]],
    argv: Sequence[str] | None,
    *,
    name: str,
    description: str,
) -> None:
    """`penstock-transformer <name>`: serve until a signal or until the part ends by itself.

    Returns after a drain; exits with the part's status if it ended by itself, 1 if it cannot start, 2 for wrong options.
    `build` is called once and connects nothing: that is a start hook's work.
    """
    arguments = sys.argv[1:] if argv is None else argv
    settings = parse(
        settings_class, arguments, os.environ, PREFIX, program=f"penstock-transformer {name}", description=description
    )
    parts: list[Part] = []

    def service() -> Service:
        made, part = build(settings)
        parts.append(part)
        return made

    run(service, settings, most_workers=1)
    status = max((part.status for part in parts), default=0)
    if status:
        sys.exit(status)
