"""The smallest work that a batcher takes, for all of its tests."""

from collections.abc import Callable, Hashable
from typing import Any

import pytest

from penstock.dataplane import Context
from penstock.errors import PenstockError


class Item:
    """A work that remembers every answer it got."""

    def __init__(
        self,
        rows: int = 1,
        *,
        nbytes: int = 8,
        key: Hashable = "k",
        deadline: float | None = None,
        priority: int = 0,
        payload: Any = None,
    ) -> None:
        self.rows = rows
        self.nbytes = nbytes
        self.key = key
        self.context = Context("r", deadline=deadline, priority=priority)
        self.disconnected = False
        self.payload = payload
        self.answers: list[Any] = []
        self.on_answer: Callable[[], None] | None = None

    def put(self, answer: Any) -> None:
        self.answers.append(answer)
        if self.on_answer is not None:
            self.on_answer()

    def error(self, error: PenstockError) -> None:
        if not self.answers:
            self.put(error)

    @property
    def answer(self) -> Any:
        """The one answer; fails if there is none, or more than one."""
        (answer,) = self.answers
        return answer


@pytest.fixture(scope="session")
def item() -> type[Item]:
    return Item
