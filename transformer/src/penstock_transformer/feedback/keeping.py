"""A log's folder kept in order: what is old goes, and outcomes that belong to nothing that was logged.

    tick --every part_s--> open files become Parquet        --every hour--> tidy

An outcome may come before its prediction is in the log, and most are of predictions that were not drawn for it. So each waits
here; once it has waited `wait_s` without its prediction it is counted as unknown and forgotten.

Invariant: an outcome whose prediction is in the log stays as long as the prediction does.
"""

import fcntl
import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, Metric

from penstock.errors import NotFound
from penstock_transformer.feedback import parquet
from penstock_transformer.feedback.folder import OUTCOMES, PREDICTIONS, LogFolder, day_of, logged, models_of, read_lines
from penstock_transformer.feedback.log import Entry
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.feedback.reporting import Told
from penstock_transformer.feedback.writer import OPEN, FolderWriter

logger = logging.getLogger(__name__)

WAIT_S = 86400.0
"""How long an outcome may be there before its prediction."""
_TIDY_S = 3600.0
_SETTLED = "settled-"


class LogKeeper:
    """A folder's writer that also keeps it in order. Implements `LogSink` for any number of logs. Raises OSError."""

    def __init__(
        self,
        root: Path,
        keep_s: float | None,
        *,
        part_s: float = 60.0,
        wait_s: float = WAIT_S,
        tidy_s: float = _TIDY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.writer = FolderWriter(root, part_s=part_s, clock=clock)
        self.counts: Counter[str] = Counter()
        self._keep_s = keep_s
        self._wait_s = wait_s
        self._tidy_s = tidy_s
        self._clock = clock
        self._tidied = clock()
        self._turn = threading.Lock()

    def start(self) -> None:
        """Make the folder; finish what writers left that are gone."""
        self.writer.start()

    def write(self, entries: Sequence[Entry]) -> None:
        """As `LogSink.write`."""
        self.writer.write(entries)

    def report(self, told: Sequence[Told]) -> None:
        """Return once the outcomes are on the disk."""
        self.writer.report(told)

    def tick(self) -> None:
        """Do what is due."""
        with self._turn:
            self.writer.tick()
            if self._clock() - self._tidied >= self._tidy_s:
                self._tidied = self._clock()
                self.tidy(time.time())

    def close(self) -> None:
        """Make Parquet files of what is open."""
        with self._turn:
            self.writer.close()

    def tidy(self, now_s: float) -> None:
        """Remove what is too old, settle the outcomes that have waited long enough."""
        try:
            models = models_of(self.writer.root)
        except NotFound:
            return
        for model in models:
            folder = LogFolder(self.writer.root, model)
            if self._keep_s is not None:
                _expire(folder, now_s - self._keep_s)
            try:
                known, unknown = settle(folder, now_s - self._wait_s)
            except parquet.NoParquet:
                continue
            self.counts["known"] += known
            self.counts["unknown"] += unknown

    def families(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        settled = CounterMetricFamily(
            "penstock_outcomes_settled",
            "Outcomes that have waited for their prediction, by whether it is logged.",
            labels=("result",),
        )
        for result in ("known", "unknown"):
            settled.add_metric((result,), self.counts[result])
        yield settled


def _expire(folder: LogFolder, before_s: float) -> None:
    oldest = day_of(max(before_s, 0.0))
    for kind in (PREDICTIONS, OUTCOMES):
        for day in (folder.path / kind).glob("day=*"):
            if day.name.removeprefix("day=") < oldest:
                shutil.rmtree(day, ignore_errors=True)
        # By days as well: an outcome's lines stay as long as a Parquet file that has its prediction.
        for path in (folder.path / kind).glob("*.jsonl"):
            with suppress(OSError):
                if day_of(path.stat().st_mtime) < oldest:
                    _remove_lines(path)


def _remove_lines(path: Path) -> None:
    """Unless a writer holds it, or makes Parquet of what another left. Raises OSError."""
    if not path.name.startswith(OPEN):
        path.unlink()
        return
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def settle(folder: LogFolder, before_s: float) -> tuple[int, int]:
    """Look for the predictions of the outcomes that came before then, each outcome once: how many are in the log, and how many
    are not, which are forgotten."""
    waiting: dict[Path, list[Outcome]] = {}
    for path in folder.parts(OUTCOMES):
        if path.suffix == ".parquet" and not path.name.startswith(_SETTLED):
            outcomes = parquet.read_outcomes(path)
            if all(outcome.received <= before_s for outcome in outcomes):
                waiting[path] = outcomes
    if not waiting:
        return 0, 0
    known = _logged_ids(folder, {outcome.id for outcomes in waiting.values() for outcome in outcomes})
    kept, gone = 0, 0
    for path, outcomes in waiting.items():
        staying = [outcome for outcome in outcomes if outcome.id in known]
        if staying:
            parquet.write_part(path.with_name(_SETTLED + path.name), staying)
        path.unlink()
        kept += len(staying)
        gone += len(outcomes) - len(staying)
    return kept, gone


def _logged_ids(folder: LogFolder, wanted: set[str]) -> set[str]:
    found: set[str] = set()
    for path in folder.parts(PREDICTIONS):
        if path.suffix == ".parquet":
            found |= parquet.ids_among(path, wanted)
        else:
            found |= {row.id for row in read_lines(path.read_bytes(), logged)} & wanted
    return found
