"""Many simulated rollouts in parallel processes: run k of a scenario has the same traffic whichever rules look at it.

What a process is sent is the scenario, the rules' settings and a range of seeds; what comes back is a Run each. Rules are made
anew for every run, by a function at the top of a module, since processes share nothing.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from penstock_cli.rollout.simulate.policy import Policy
from penstock_cli.rollout.simulate.run import Run, run
from penstock_cli.rollout.simulate.trace import Scenario, Trace

_CHUNK = 10


@dataclass(frozen=True)
class Job:
    """So many rollouts of one kind: `make(settings)` gives the rules of each, which have `seconds` at most."""

    scenario: Scenario
    make: Callable[..., Policy]
    settings: object
    seconds: float
    count: int
    seed: int = 1


def run_all(jobs: Sequence[Job], processes: int | None = None, told: Callable[[int, int], None] | None = None) -> list[list[Run]]:
    """Every job's runs, in order. `told(done, all)` is called as they come; `processes` None: one a core, 1: in this one."""
    pieces = [(place, start) for place, job in enumerate(jobs) for start in range(0, job.count, _CHUNK)]
    found: list[list[Run]] = [[] for _ in jobs]
    total = sum(job.count for job in jobs)
    count = processes or os.cpu_count() or 1
    if count == 1:
        chunks = (_piece(jobs[place], start) for place, start in pieces)
        for (place, _), runs in zip(pieces, chunks, strict=True):
            found[place] += runs
            if told:
                told(sum(map(len, found)), total)
        return found
    # Spawned, not forked: numpy's and the caller's threads do not survive a fork.
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        asked = [(place, pool.submit(_piece, jobs[place], start)) for place, start in pieces]
        for place, future in asked:
            found[place] += future.result()
            if told:
                told(sum(map(len, found)), total)
    return found


def _piece(job: Job, start: int) -> list[Run]:
    stop = min(start + _CHUNK, job.count)
    return [run(Trace(job.scenario, job.seconds, job.seed + number), job.make(job.settings)) for number in range(start, stop)]
