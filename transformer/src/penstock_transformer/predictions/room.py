"""Room for what is on its way into the database, and for callers that wait: bounded in number and in bytes.

Invariant: whoever was let in leaves exactly once, and gives back what he took.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from penstock.errors import Overloaded


class Room:
    """`what` names those that do not fit, for the error; one alone fits always, however large."""

    def __init__(self, what: str, most: int, most_bytes: int | None = None) -> None:
        self._what = what
        self._most = most
        self._most_bytes = most_bytes
        self.count = 0
        self.nbytes = 0

    @contextmanager
    def taken(self, nbytes: int = 0) -> Iterator[None]:
        """A place, and so many bytes, while the block runs. Raises Overloaded if there is none."""
        full = self._most_bytes is not None and self.count and self.nbytes + nbytes > self._most_bytes
        if self.count >= self._most or full:
            raise Overloaded(f"too many {self._what} at once", retry_after_s=1.0)
        self.count += 1
        self.nbytes += nbytes
        try:
            yield
        finally:
            self.count -= 1
            self.nbytes -= nbytes
