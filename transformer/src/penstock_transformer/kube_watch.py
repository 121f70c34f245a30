"""Some objects of the Kubernetes API, listed and then watched for as long as the program runs.

    list --> watched.replace --> watch --(changes, bookmarks)--> watched.apply --> told()
     ^                            |  410, an error of the server's, an event that is none: list again
     +----------------------------+  disconnected, ended: watch again from where it was, with growing pauses

What is watched is a state machine without I/O; this is the shell around it. (kubernetes.io/docs/reference/using-api/api-concepts:
"Efficient detection of changes")

Invariant: whatever the server does, there is a pause between two requests, and it grows as long as none of them brings anything.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import urlencode

from penstock_transformer.kube_api import KubeApi, KubeApiError

WATCH_S = 300
GONE = 410
# Neither rights nor tokens come back within seconds, and most who are denied are so for good.
DENIED = (401, 403)
DENIED_PAUSE_S = 30.0
# Beyond the server's own end of a watch: by then it has been cut without a word.
_SILENT_S = WATCH_S + 30.0
_FIRST_PAUSE_S = 0.2
# A watch that lasted so long, or brought something, was one; shorter ones count as failures.
_SETTLED_S = 5.0


class Watched(Protocol):
    """What takes in a list and the events after it. Any of KeyError, TypeError, ValueError, AttributeError: that was none."""

    version: str

    def replace(self, document: dict[str, Any]) -> None: ...

    def apply(self, event: dict[str, Any]) -> bool:
        """False: the watch cannot go on, and a list is needed."""


class KubeWatch:
    """Objects at `path` (a collection's) that `selector` picks. `told` is called after a list and after every event that is no
    bookmark, `failed` with every error; both on the loop, neither may raise. `before` runs ahead of every list."""

    def __init__(
        self,
        api: KubeApi,
        path: str,
        selector: dict[str, str],
        watched: Watched,
        told: Callable[[], None],
        failed: Callable[[KubeApiError], None],
        *,
        before: Callable[[], Awaitable[None]] | None = None,
        longest_pause_s: float = 30.0,
    ) -> None:
        self._api = api
        self._path = path
        self._selector = selector
        self._watched = watched
        self._told = told
        self._failed = failed
        self._before = before
        self._longest_pause_s = longest_pause_s
        self._listed = False
        self._pause_s = 0.0
        self._connection: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._connection = asyncio.ensure_future(self._once())
            try:
                await asyncio.wait({self._connection})
            except asyncio.CancelledError:
                self._connection.cancel()
                await asyncio.gather(self._connection, return_exceptions=True)
                raise
            if not self._connection.cancelled():
                self._connection.result()  # nothing is expected here: what comes is a fault of ours, and ends the watch

    def renew(self) -> None:
        """Give up the connection that there is, if any, and watch on from where it was, without a pause."""
        if self._connection is not None:
            self._pause_s = 0.0
            self._connection.cancel()

    async def _once(self) -> None:
        """A pause, then one connection's life."""
        if self._pause_s:
            # Spread in time, so that a whole Deployment does not come back to the API server at once.
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))
        pause_s, self._pause_s = self._pause_s, _FIRST_PAUSE_S
        began, seen, longest_s = time.monotonic(), self._watched.version, self._longest_pause_s
        try:
            if not self._listed:
                await self._list()
                self._told()
            self._listed = await self._watch()
        except KubeApiError as error:
            self._listed = self._listed and error.status != GONE
            longest_s = max(longest_s, DENIED_PAUSE_S) if error.status in DENIED else longest_s
            self._failed(error)
        if time.monotonic() - began < _SETTLED_S and self._watched.version == seen:
            self._pause_s = min(max(pause_s * 2, _FIRST_PAUSE_S), longest_s)

    async def _list(self) -> None:
        if self._before is not None:
            await self._before()
        found = await self._api.get(self._target({}))
        try:
            self._watched.replace(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise KubeApiError(f"the list at {self._path} is not one: {error!r}") from None
        self._listed = True

    async def _watch(self) -> bool:
        """One watch, from its begin to its end; whether another one may go on from there."""
        asked = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._watched.version,
            "timeoutSeconds": str(WATCH_S),
        }
        async with contextlib.aclosing(self._api.watch(self._target(asked), _SILENT_S)) as events:
            async for event in events:
                try:
                    if not self._watched.apply(event):
                        return False
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise KubeApiError(f"an event of {self._path} is not one: {error!r}", GONE) from None
                if event.get("type") != "BOOKMARK":
                    self._told()
        return True

    def _target(self, asked: dict[str, str]) -> str:
        return f"{self._path}?{urlencode({**self._selector, **asked})}"
