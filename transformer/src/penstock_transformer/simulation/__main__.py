"""`python -m penstock_transformer.simulation [HISTORIES] [--first N] [--processes N]`: many histories, side by side.

Prints what happened in them, how long they took, and each that failed with its number; exits 1 if any did.
"""

import argparse
import os
import sys
import time
from collections import Counter
from multiprocessing import Pool

from penstock_transformer.simulation.history import History, Report

_TOLD = 5000


def run(number: int) -> Report:
    """One history."""
    return History(number).run()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser("python -m penstock_transformer.simulation", description="Run histories of the worker.")
    parser.add_argument("histories", nargs="?", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    began, events, records, failed, done = time.monotonic(), Counter[str](), 0, 0, 0
    with Pool(options.processes) as pool:
        for report in pool.imap_unordered(run, range(options.first, options.first + options.histories), chunksize=20):
            events.update(report.events)
            done += 1
            if done % _TOLD == 0:
                print(f"{done} histories, {failed} failed, {time.monotonic() - began:.0f} s", flush=True)
            records += report.records
            if report.faults:
                failed += 1
                print(f"history {report.number}: {'; '.join(report.faults[:5])}", flush=True)
    happened = ", ".join(f"{count} {what}" for what, count in sorted(events.items()))
    print(f"{options.histories} histories, {records} records, {failed} failed, {time.monotonic() - began:.0f} s; {happened}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
