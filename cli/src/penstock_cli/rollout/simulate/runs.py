"""Many simulated rollouts in parallel processes: run k of a scenario has the same traffic whichever rules look at it.

What a process is sent is the scenario, the rules' settings and a range of seeds; what comes back is a Run each. Rules are made
anew for every run, by a function at the top of a module, since processes share nothing.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
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
    return list(run_each(jobs, processes, told))


def run_each(
    jobs: Sequence[Job], processes: int | None = None, told: Callable[[int, int], None] | None = None
) -> Iterator[list[Run]]:
    """The same, each job's as soon as all before it are done."""
    done, total = 0, sum(job.count for job in jobs)
    with ExitStack() as stack:
        begun = [list(_pieces(job)) for job in jobs]
        if (count := processes or os.cpu_count() or 1) > 1:
            # Spawned, not forked: numpy's and the caller's threads do not survive a fork.
            pool = stack.enter_context(ProcessPoolExecutor(count, mp_context=get_context("spawn")))
            begun = [[pool.submit(piece).result for piece in pieces] for pieces in begun]
        for pieces in begun:
            found: list[Run] = []
            for piece in pieces:
                runs = piece()
                found += runs
                done += len(runs)
                if told:
                    told(done, total)
            yield found


def _pieces(job: Job) -> Iterator[Callable[[], list[Run]]]:
    return (partial(_piece, job, start) for start in range(0, job.count, _CHUNK))


def _piece(job: Job, start: int) -> list[Run]:
    stop = min(start + _CHUNK, job.count)
    return [run(Trace(job.scenario, job.seconds, job.seed + number), job.make(job.settings)) for number in range(start, stop)]
