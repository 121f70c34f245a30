"""How far an interrupted load came: kept beside the repository, thrown away when the load is complete.

A checkpoint is written after the rows it counts are in the store, so resuming may repeat a few rows and never skips one; the
store's compare-and-set makes the repetition harmless.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = ".penstock"


@dataclass(slots=True)
class Counts:
    """Rows so far: `read` of the source, of which `written` were newer than what the store held, `unchanged` were not, and
    `rejected` did not fit. `line` is the last one done, `last` a digest of its cells, `parts` counts history parts,
    `reject_bytes` are the reject file's."""

    read: int = 0
    written: int = 0
    unchanged: int = 0
    rejected: int = 0
    line: int = 0
    last: str = ""
    parts: int = 0
    reject_bytes: int = 0


class Checkpoint:
    """The state of one load (`identity`: source, store, and how rows are read), in `<repository>/.penstock/loads/<id>/`."""

    def __init__(self, repository: Path, view: str, identity: str) -> None:
        self.folder = repository / FOLDER / "loads" / f"{view}-{identity[:16]}"
        self._file = self.folder / "state.json"
        self._identity = identity

    def open(self, *, afresh: bool) -> Counts:
        """The counts to go on from: zeros for a load that is new, or to be started `afresh`."""
        if not afresh and self._file.exists():
            try:
                state = json.loads(self._file.read_text())
                if state.pop("identity") == self._identity:
                    return Counts(**state)
            except (ValueError, TypeError, KeyError):
                # A state that another release wrote, or half of one: start over, nothing is lost by it.
                pass
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        # This folder lies in the users' repository, whose version control should not see it.
        (self.folder.parents[1] / ".gitignore").write_text("*\n")
        return Counts()

    def save(self, counts: Counts) -> None:
        """Remember how far it came."""
        part = self._file.with_suffix(".writing")
        part.write_text(json.dumps({"identity": self._identity, **asdict(counts)}))
        os.replace(part, self._file)

    def done(self) -> None:
        """Forget it."""
        shutil.rmtree(self.folder, ignore_errors=True)
