"""The admin port: what operators and the platform ask of a process, never on a Service.

Members register routes; each is answered inside every worker, and the answers are merged into one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Merge = Callable[[list[dict[str, Any]]], dict[str, Any]]


def first(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The merge for answers that are the same in every worker."""
    return answers[0]


@dataclass(frozen=True)
class AdminRoute:
    """`handler` gets the path's parameters, the query's and the JSON body's members as one dict, and answers a JSON-ready dict;
    it raises PenstockErrors. `merge` makes one answer of the workers' (at least one)."""

    method: str
    path: str
    handler: Handler
    merge: Merge = first
    summary: str = ""


class AdminRoutes:
    """The admin routes of a process, in the order they were added."""

    def __init__(self) -> None:
        self.routes: list[AdminRoute] = []

    def add(self, method: str, path: str, handler: Handler, *, merge: Merge = first, summary: str = "") -> None:
        self.routes.append(AdminRoute(method, path, handler, merge, summary))


def build_admin() -> None: ...
