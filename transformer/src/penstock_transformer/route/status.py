"""What one process knows of its route beside the route itself: written by who keeps it, read by `GET /route` and by readiness.

    source: confirmed, refused, most_apply --> RouteStatus --> answer()         (operators and the operator)
                                                          \\-> lag(), lack()    (readiness)

Invariant: a pod turns unready for its route only where most other pods apply a newer one: whatever keeps all of them from a
revision, an API server that is away, a predictor that is gone, a revision that is wrong, takes no pod out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penstock.errors import PenstockError
from penstock_transformer.routing import Route


@dataclass(frozen=True, slots=True)
class RouteFault:
    """Why what was seen last is not what is applied. `revision` None: it could not be made out."""

    revision: int | None
    field: str | None
    message: str

    @classmethod
    def of(cls, revision: int | None, error: PenstockError) -> "RouteFault":
        return cls(revision, error.field, error.message)

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"revision": self.revision, "field": self.field, "message": self.message}


class RouteStatus:
    """`source`: predictor, file, configmap or cache; "" before there is a route. `lag_s` 0: lagging has no consequence."""

    def __init__(self, model: str, *, lag_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.model = model
        self.source = ""
        self.error: RouteFault | None = None
        self.unfollowed = ""  # why the predictor could not be asked last, where it is followed
        self._lag_s = lag_s
        self._clock = clock
        self._revision = 0
        self._most_apply = 0
        self._behind_since: float | None = None
        self._confirmed: float | None = None

    def confirmed(self) -> None:
        """The API server has just said what the newest route is."""
        self._confirmed = self._clock()

    def applied(self, revision: int) -> None:
        """This revision is applied now."""
        self._revision = revision
        self._look()

    def most_apply(self, revision: int) -> None:
        """Most pods apply this revision, says who has asked them; 0: nobody says so."""
        self._most_apply = revision
        self._look()

    def lag(self) -> str | None:
        """Why the process is not ready, None if its route is no reason."""
        if self._behind_since is None or not self._lag_s or self._clock() - self._behind_since < self._lag_s:
            return None
        return f"most pods apply revision {self._most_apply} of the route, this one {self._revision}"

    def lack(self, route: Route | None) -> str | None:
        """Why there is no route at all yet, None once there is one: from then on a predictor that is away fails its requests."""
        if route is not None:
            return None
        return self.unfollowed or (self.error.message if self.error is not None else "no bundle is loaded yet")

    def answer(self, route: Route | None) -> dict[str, Any]:
        """What `GET /route` says."""
        confirmed_s = None if self._confirmed is None else round(self._clock() - self._confirmed, 3)
        return {
            "revision": route.revision if route is not None else 0,
            "model": self.model,
            "applied": list(dict.fromkeys(bundle.digest for bundle in route.bundles if bundle.digest))
            if route is not None
            else [],
            "error": self.error.document() if self.error is not None else None,
            "confirmed_s": confirmed_s,
            "source": self.source,
        }

    def _look(self) -> None:
        if self._revision >= self._most_apply:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = self._clock()


def merged(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer of a program with several processes: the lowest revision, the longest silence, the first error."""
    lowest = min(answers, key=lambda answer: int(answer["revision"]))
    silences = [answer["confirmed_s"] for answer in answers]
    error = lowest["error"] or next((answer["error"] for answer in answers if answer["error"]), None)
    return {**lowest, "error": error, "confirmed_s": None if None in silences else max(silences)}
