"""A transformer that counts evidence in every other window of time, for bench/evidence_cost.py.

    python bench/evidence_server.py FILE [the transformer's own options]

Windows with and without are told to FILE, a line of JSON each: from when to when, whether it counted, the CPU of the process and
the requests. They alternate on, off, off, on: what drifts with time falls on both alike. What a window with evidence has left to
be counted later is counted before it ends.
"""

import asyncio
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

WINDOW_S = 0.25
LEAST_REQUESTS = 300
"""A window goes on until it has so many, for four seconds at most: on a machine with other work, or one connection."""
ORDER = (True, False, False, True)


class Switch:
    """Turns the counting of one transformer on and off, and writes the windows down."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.requests = 0
        self.batches = 0

    async def alternate(self, recorder: Any) -> None:
        live, shadows = recorder.live, recorder.shadows
        with self._path.open("a") as told:
            while True:
                for counted in ORDER:
                    if recorder.live:
                        live, shadows = recorder.live, recorder.shadows  # another route
                    recorder.live, recorder.shadows = (live, shadows) if counted else ({}, {})
                    told.write(json.dumps(await self._window(recorder, counted=counted)) + "\n")
                    told.flush()

    async def _window(self, recorder: Any, *, counted: bool) -> dict[str, float]:
        began, cpu, requests, batches = time.monotonic(), time.process_time(), self.requests, self.batches
        for _ in range(16):
            await asyncio.sleep(WINDOW_S)
            if self.requests - requests >= LEAST_REQUESTS:
                break
        if counted:
            recorder.backlog.flush()
        return {
            "from": began,
            "to": time.monotonic(),
            "counted": counted,
            "cpu_s": time.process_time() - cpu,
            "requests": self.requests - requests,
            "batches": self.batches - batches,
        }


def install(switch: Switch) -> None:
    """Count what the pipeline runs, in either kind of window, and start to alternate once the transformer has a route."""
    from penstock_transformer.pipeline import Pipeline
    from penstock_transformer.transformer import Transformer

    run, start = Pipeline.run, Transformer.start

    async def counted(self: Pipeline, works: Any) -> None:
        switch.requests += len(works)
        switch.batches += 1
        await run(self, works)

    async def started(self: Transformer) -> None:
        await start(self)
        self.alternating = asyncio.create_task(switch.alternate(self.table.recorder))  # type: ignore[attr-defined]

    Pipeline.run = counted  # type: ignore[method-assign]
    Transformer.start = started  # type: ignore[method-assign]


def main() -> None:
    path, *options = sys.argv[1:]
    install(Switch(Path(path)))
    importlib.import_module("penstock_transformer.__main__").main(options)


if __name__ == "__main__":
    main()
