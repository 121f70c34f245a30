"""Routing: which bundle answers a request, and which get a copy of it. Pure: no I/O, no clock.

    PredictRequest -> choose(route) -> the live bundle;  unit_of, copies(route) -> shadow bundles

Sticky: the same key (`Penstock-Route-Key`, else the first row's entity key) goes to the same bundle for as long as the weights
stay. Weighted rendezvous hashing: every bundle draws a number from key and digest, the greatest draw for its weight wins. So
shares are exactly the weights, and a change of weights moves only the callers it must. Arms of one bundle draw as one, with their
weights together, and share its callers by a second draw: an arm that comes or goes moves nobody to another bundle.
Source: Schindelhauer and Schomaker, "Weighted distributed hash tables" (2005), logarithmic method.
"""

import math
import random
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from penstock.errors import NotFound, NotReady, WrongBundle
from penstock_transformer.active import ActiveBundle
from penstock_transformer.requests import PredictRequest

_SCALE = 2.0**-64


@dataclass(frozen=True, slots=True)
class Target:
    """A bundle of the route: `weight` of the live requests, or, as a shadow, the `fraction` of requests it gets a copy of. `arm`
    as in the route file; `together`: the weight of all arms of its bundle, 0 where there are no others."""

    bundle: ActiveBundle
    weight: float = 1.0
    fraction: float = 0.0
    arm: str = ""
    together: float = 0.0


@dataclass(frozen=True, slots=True)
class Route:
    """What is applied now. `revision` is the route file's, 0 without one. Swapped whole, never changed."""

    revision: int
    live: tuple[Target, ...]
    shadows: tuple[Target, ...] = ()

    @property
    def bundles(self) -> tuple[ActiveBundle, ...]:
        """Every bundle of the route, live ones first, each once."""
        return tuple({id(t.bundle): t.bundle for t in (*self.live, *self.shadows)}.values())

    def by_digest(self, digest: str) -> ActiveBundle | None:
        """The bundle with this digest (`sha256:…`, or a whole label ending in it)."""
        wanted = digest.rpartition("@")[2]
        return next((b for b in self.bundles if b.digest == wanted), None)


def choose(route: Route | None, request: PredictRequest) -> ActiveBundle:
    """The bundle that answers. Raises NotReady without a route, WrongBundle and NotFound for a digest or version not in it."""
    return assign(route, request)[0]


def assign(route: Route | None, request: PredictRequest) -> tuple[ActiveBundle, bytes | None]:
    """The bundle that answers, and the key that decided it; None where no key did. Raises as `choose`."""
    if route is None or not route.live:
        raise NotReady("no bundle is loaded yet")
    expected, version = request.context.expect_bundle, request.version
    if expected is not None:
        bundle = route.by_digest(expected)
        if bundle is None:
            raise WrongBundle(f"{expected} is not served here; {', '.join(t.bundle.label for t in route.live)} is")
        return bundle, None
    live = route.live
    if version is not None:
        live = tuple(t for t in live if t.bundle.version == version)
        if not live:
            raise NotFound(f"version {version} is not served; {', '.join(sorted({t.bundle.version for t in route.live}))} is")
    if len(live) == 1:
        return live[0].bundle, None
    key = key_of(route, request)
    return rendezvous(live, key or random.randbytes(8)).bundle, key


def elsewhere(route: Route | None, refused: ActiveBundle) -> ActiveBundle | None:
    """The bundle to try after a predictor has turned out to hold another one than `refused`: other pods of its bundle, or else of
    the other live ones that which gets most requests. None for a bundle that is not live, or
    the only one: the route of the moment says where to go, then."""
    live = route.live if route is not None else ()
    others = [t for t in live if t.bundle is not refused and t.weight > 0]
    if not others or all(t.bundle is not refused for t in live):
        return None
    return max(others, key=lambda t: (t.bundle.identity == refused.identity, t.weight)).bundle


def rendezvous(live: tuple[Target, ...], key: bytes) -> Target:
    """The target that a key belongs to; where none has a weight (a version that is named, and only tried), all count alike."""
    weighted = [(t, t.together or t.weight) for t in live if t.weight > 0] or [(t, 1.0) for t in live]
    first = max(weighted, key=lambda pair: pair[1] / -math.log(_draw(key, pair[0].bundle.identity)))[0]
    return first if first.together == first.weight or not first.together else _arm_of(first, live, key)


def _arm_of(first: Target, live: tuple[Target, ...], key: bytes) -> Target:
    """The arm that a key of this bundle belongs to: named ones have the low draws, so that one that grows only takes callers."""
    point = _draw(key, f"arm of {first.bundle.identity[-56:]}") * first.together
    for target in live:
        if target.arm and target.bundle.identity == first.bundle.identity:
            if point < target.weight:
                return target
            point -= target.weight
    return next((t for t in live if not t.arm and t.bundle.identity == first.bundle.identity), first)


def _draw(key: bytes, identity: str) -> float:
    number = int.from_bytes(blake2b(key, digest_size=8, key=identity[-64:].encode()[-64:]).digest(), "big")
    return (number + 0.5) * _SCALE if number < 2**64 - 2048 else 1.0 - 2.0**-53


def key_of(route: Route, request: PredictRequest) -> bytes | None:
    """What a request sticks by: its route key, else the first entity key that its first row holds (the record's before those of
    the other sets, in the spec's order); None for one that has none."""
    if request.context.route_key is not None:
        return request.context.route_key.encode()
    if request.record_id is not None:
        return request.record_id.encode()
    plan = route.live[0].bundle.plan
    if plan is not None:
        for one in (plan.record, *plan.others) if plan.record else plan.sets:
            values = [_first(request, column) for column in one.key_columns]
            if None not in values:
                return "\x1f".join(map(str, values)).encode()
    return None


def _first(request: PredictRequest, column: str) -> Any:
    if request.rows is not None:
        return request.rows[0].get(column) if request.rows else None
    array = (request.columns or {}).get(column)
    if array is None or not len(array):
        return None
    value = array[:1].tolist()[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def unit_of(route: Route, request: PredictRequest) -> bytes | None:
    """The key that the evidence counts a request by, as `evidence.sums` does; None for one that is a unit of its own."""
    if len(route.live) > 1:
        return key_of(route, request) or None
    key = request.context.route_key or request.record_id
    return key.encode() if key else None


def copies(route: Route, request: PredictRequest, unit: bytes | None, salt: bytes) -> list[ActiveBundle]:
    """The shadows that get a copy of one request; none of one that names its bundle or version, for no chance assigned it.

    Drawn by chance, so that they see a fair sample: of units, for units are what is compared. The requests of one `unit` are all
    copied or none is, as long as `salt` (16 bytes) stays; a new one is a new draw. A request without a unit is drawn by itself.
    """
    if request.context.expect_bundle is not None or request.version is not None:
        return []
    if not unit:
        return [t.bundle for t in route.shadows if random.random() < t.fraction]
    return [t.bundle for t in route.shadows if _copied(unit, t.bundle.identity, salt) < t.fraction]


def _copied(unit: bytes, identity: str, salt: bytes) -> float:
    # Not keyed as the draws above are: that is another block to hash, of every request.
    person = identity[-16:].encode()[-16:]
    return int.from_bytes(blake2b(unit, digest_size=8, salt=salt, person=person).digest(), "big") * _SCALE
