"""Whether one route may follow another: an acknowledged revision must mean one route, and never come to mean another.

Within one ConfigMap the revision grows with every change. A lower one, or other contents under the same one, is somebody's slip
or a writer that lags, and is refused. A ConfigMap that was deleted and made again (another uid) begins anew.
"""

from dataclasses import dataclass

from penstock.errors import InvalidInput
from penstock_transformer.route_file import RouteSpec


@dataclass(frozen=True, slots=True)
class Accepted:
    """The route that was accepted last, and the ConfigMap that held it."""

    uid: str
    spec: RouteSpec
    text: str


def check_succession(before: Accepted | None, uid: str, spec: RouteSpec) -> None:
    """Raises InvalidInput, field revision, if `spec` cannot follow."""
    if before is None or before.uid != uid or spec == before.spec:
        return
    last = before.spec.revision
    if spec.revision < last:
        raise InvalidInput(
            f"expected one above {last}, the last one, got {spec.revision}: revisions never go back", field="revision"
        )
    if spec.revision == last:
        raise InvalidInput(f"{last} is the revision of another route already; a change needs a higher one", field="revision")
