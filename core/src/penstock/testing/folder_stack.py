"""What is started once for a folder of tests and ends with its last one. A fixture of the session would live on to the end of the
run, and go on working beside everybody else's tests; pytest's scopes know no folder without an `__init__.py`.

    _HERE = FolderStack(__file__)                                        in the folder's conftest
    @pytest.fixture(scope="session")
    def server(): return _HERE.enter_context(Server())
    pytest_runtest_teardown, pytest_sessionfinish = _HERE.hooks()
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest


class FolderStack(ExitStack):
    """Closed when the next test is not in the folder of `conftest`, or there is none."""

    def __init__(self, conftest: str) -> None:
        super().__init__()
        self._folder = Path(conftest).resolve().parent

    def hooks(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """`pytest_runtest_teardown` and, for a run that is broken off, `pytest_sessionfinish` of that conftest."""

        # Before pytest's own: what these stand on (the shared servers) may go with the very last test.
        @pytest.hookimpl(tryfirst=True)
        def torn_down(nextitem: pytest.Item | None) -> None:
            if nextitem is None or self._folder not in nextitem.path.parents:
                self.close()

        def finished() -> None:
            self.close()

        return torn_down, finished
