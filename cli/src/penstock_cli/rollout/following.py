"""What the API server says of ModelVersions, kept up to date by a watch in a thread of its own.

    Cluster.versions, Cluster.watch --thread--> versions by name --wait()--> whoever draws, or waits

A server that is away is tried again for as long as this is open; what was seen last stays, and `away` says why it is old.

Invariant: `look` never shows a mixture: each version is one that the API server had.
"""

import threading
from types import TracebackType
from typing import Self

from penstock.errors import Conflict, Overloaded, PenstockError, UpstreamUnavailable
from penstock_cli.rollout.cluster import Cluster, Watch
from penstock_operator.model_version import ModelVersion

FIRST_RETRY_S, MOST_RETRY_S = 0.5, 5.0
"""Wait before a server that was away is asked again, doubling."""


class Following:
    """Follow all versions of a cluster's namespace while this is entered."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._versions: dict[tuple[str, str], ModelVersion] = {}
        self._away: PenstockError | None = None
        self._failed: PenstockError | None = None
        self._changed = threading.Condition()
        self._count = 0
        self._seen = 0
        self._stopped = threading.Event()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name="rollout", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        watch = self._watch
        if watch is not None:
            watch.stop()
        self._thread.join(MOST_RETRY_S)

    def look(self) -> tuple[list[ModelVersion], PenstockError | None]:
        """The versions as last seen, and why that is not as they are now, if it is not. Raises what no waiting mends."""
        with self._changed:
            self._seen = self._count
            if self._failed is not None:
                raise self._failed
            return list(self._versions.values()), self._away

    def wait(self, most_s: float | None) -> bool:
        """Wait until something is not as `look` last showed it, so long at most; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count != self._seen, most_s)

    def _run(self) -> None:
        pause_s = FIRST_RETRY_S
        while not self._stopped.is_set():
            try:
                versions, since = self._cluster.versions()
                self._set({(one.namespace, one.name): one for one in versions})
                pause_s = FIRST_RETRY_S
                while not self._stopped.is_set():
                    since = self._watched(since)
            except Conflict:
                # The server does not remember so far back.
                continue
            except (UpstreamUnavailable, Overloaded) as error:
                self._tell(away=error)
                self._stopped.wait(pause_s)
                pause_s = min(2 * pause_s, MOST_RETRY_S)
            except PenstockError as error:
                self._tell(failed=error)
                return

    def _watched(self, since: str) -> str:
        """One watch to its end; where the next one begins."""
        self._watch = watch = self._cluster.watch(since)
        if self._stopped.is_set():
            watch.stop()
        for change in watch:
            since = change.version.resource_version
            place = (change.version.namespace, change.version.name)
            with self._changed:
                versions = {name: one for name, one in self._versions.items() if name != place}
            self._set(versions if change.gone else versions | {place: change.version})
        return since

    def _set(self, versions: dict[tuple[str, str], ModelVersion]) -> None:
        with self._changed:
            if versions != self._versions or self._away is not None or self._count == 0:
                self._versions, self._away = versions, None
                self._count += 1
                self._changed.notify_all()

    def _tell(self, *, away: PenstockError | None = None, failed: PenstockError | None = None) -> None:
        with self._changed:
            if self._away is None or failed is not None:
                self._count += 1
            self._away, self._failed = away, failed
            self._changed.notify_all()
