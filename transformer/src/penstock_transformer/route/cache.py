"""The last route on disk: what a process goes by that starts while the API server is away.

    applied route --save (a thread, swapped in whole)--> <directory>/<ConfigMap>.json --load, at the start--> Kept | None

That there was no ConfigMap is kept too: such a process follows its one predictor, and need not wait to learn it again.

Invariant: a cache that cannot be read or written is told in the log, and keeps nothing from going on.
"""

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import orjson

from penstock_transformer.route_file import MAX_BYTES

logger = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept. `text` None: there was no ConfigMap."""

    uid: str
    text: str | None


class RouteCache:
    """The file of one ConfigMap in `directory`. Both methods block: call them in a thread."""

    def __init__(self, directory: Path, name: str) -> None:
        self._file = directory / f"{name}.json"

    def load(self) -> Kept | None:
        """What is kept; None for nothing, or nothing that could be read."""
        try:
            with self._file.open("rb") as opened:
                document = orjson.loads(opened.read(8 * MAX_BYTES))
            if document["formatVersion"] != _FORMAT:
                raise ValueError(f"formatVersion {document['formatVersion']!r}")
            uid, text = document["uid"], document["route"]
            if not isinstance(uid, str) or not (text is None or isinstance(text, str)):
                raise TypeError("uid or route is no text")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("kept route cannot be read", extra={"file": str(self._file), "reason": str(error)})
            return None
        return Kept(uid, text)

    def save(self, kept: Kept) -> None:
        """Keep this. What was kept before stays until all of it is written."""
        content = orjson.dumps({"formatVersion": _FORMAT, "uid": kept.uid, "route": kept.text})
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=f".{self._file.name}.", dir=self._file.parent)
            try:
                with os.fdopen(descriptor, "wb") as opened:
                    opened.write(content)
                    opened.flush()
                    os.fsync(opened.fileno())
                Path(name).replace(self._file)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            logger.warning("route cannot be kept", extra={"file": str(self._file), "reason": str(error)})
