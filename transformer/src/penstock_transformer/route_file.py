"""The route file as values: YAML text -> RouteSpec, whole or not at all.

Written by the operator or by hand (design: "the route file"); read by the watcher, which turns entries into active bundles. A
file that is wrong in any place is refused with the place, so that the route applied before stays.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from penstock.errors import InvalidInput

_FORMATS = (1,)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ROUTE_KEYS = {"formatVersion", "revision", "model", "bundles"}
_ENTRY_KEYS = {"digest", "predictor", "weight", "mode", "fraction", "verify", "model"}


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One bundle of the route. `predictor` is an http(s) URL; `model` the name that this predictor serves it under, None for the
    route's own. `verify` none: a foreign server that knows no digests; `digest` may then be empty."""

    digest: str
    predictor: str
    weight: float = 0.0
    mode: Literal["live", "shadow"] = "live"
    fraction: float = 0.0
    verify: Literal["digest", "none"] = "digest"
    model: str | None = None


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A whole route file. Weights are relative; at least one live entry has one above 0."""

    revision: int
    model: str
    bundles: tuple[RouteEntry, ...]


def read_route(text: str, model: str) -> RouteSpec:
    """Parse and check a route file for `model`. Raises InvalidInput naming the field that is wrong."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(f"not YAML: {str(error).splitlines()[0]}", field="route") from None
    if not isinstance(document, dict):
        raise InvalidInput("expected a mapping", field="route")
    _only(document, _ROUTE_KEYS, "route")
    if document.get("formatVersion") not in _FORMATS:
        raise InvalidInput(f"expected 1, got {document.get('formatVersion')!r}", field="formatVersion")
    revision = document.get("revision")
    if type(revision) is not int or revision < 0:
        raise InvalidInput(f"expected a whole number of at least 0, got {revision!r}", field="revision")
    if document.get("model") != model:
        raise InvalidInput(f"expected {model!r}, the model served here, got {document.get('model')!r}", field="model")
    entries = document.get("bundles")
    if not isinstance(entries, list) or not entries:
        raise InvalidInput("expected a list of at least one bundle", field="bundles")
    bundles = tuple(_entry(entry, f"bundles[{i}]") for i, entry in enumerate(entries))
    _check_together(bundles)
    return RouteSpec(revision, model, bundles)


def _entry(entry: Any, where: str) -> RouteEntry:
    if not isinstance(entry, dict):
        raise InvalidInput("expected a mapping", field=where)
    _only(entry, _ENTRY_KEYS, where)
    verify = _one_of(entry.get("verify", "digest"), ("digest", "none"), f"{where}.verify")
    digest = entry.get("digest", "")
    if not (isinstance(digest, str) and (_DIGEST.fullmatch(digest) or (digest == "" and verify == "none"))):
        raise InvalidInput(f"expected sha256: and 64 hex digits, got {digest!r}", field=f"{where}.digest")
    mode = _one_of(entry.get("mode", "live"), ("live", "shadow"), f"{where}.mode")
    unfit = "fraction" if mode == "live" else "weight"
    if unfit in entry:
        raise InvalidInput(f"does not belong to a {mode} entry", field=f"{where}.{unfit}")
    model = entry.get("model")
    if model is not None and (not isinstance(model, str) or not model):
        raise InvalidInput(f"expected a name, got {model!r}", field=f"{where}.model")
    return RouteEntry(
        digest=digest,
        predictor=_address(entry.get("predictor"), f"{where}.predictor"),
        weight=_number(entry.get("weight"), f"{where}.weight", 1e9) if mode == "live" else 0.0,
        mode="live" if mode == "live" else "shadow",
        fraction=_number(entry.get("fraction", 1.0), f"{where}.fraction", 1.0) if mode == "shadow" else 0.0,
        verify="none" if verify == "none" else "digest",
        model=model,
    )


def _check_together(bundles: tuple[RouteEntry, ...]) -> None:
    if not any(b.mode == "live" and b.weight > 0 for b in bundles):
        raise InvalidInput("no live bundle has a weight above 0", field="bundles")
    seen: set[str] = set()
    foreign: set[tuple[str, str | None]] = set()
    for index, bundle in enumerate(bundles):
        if bundle.digest and bundle.digest in seen:
            raise InvalidInput("this digest is named twice", field=f"bundles[{index}].digest")
        if not bundle.digest and (bundle.predictor, bundle.model) in foreign:
            reason = "this predictor is named twice, without a digest to tell the entries apart"
            raise InvalidInput(reason, field=f"bundles[{index}].predictor")
        if not bundle.digest:
            foreign.add((bundle.predictor, bundle.model))
        seen.add(bundle.digest)


def _address(value: Any, where: str) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
        good = good and parts is not None and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good:
        shown = "one with a password in it" if isinstance(value, str) and "@" in value else repr(value)
        raise InvalidInput(f"expected http://HOST[:PORT] or https://HOST[:PORT], got {shown}", field=where)
    return str(value)


def _number(value: Any, where: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise InvalidInput(f"expected a number from 0 to {most:g}, got {value!r}", field=where)
    return float(value)


def _one_of(value: Any, allowed: tuple[str, ...], where: str) -> str:
    if value not in allowed:
        raise InvalidInput(f"expected one of {', '.join(allowed)}, got {value!r}", field=where)
    return str(value)


def _only(mapping: dict[Any, Any], allowed: set[str], where: str) -> None:
    for key in mapping:
        if key not in allowed:
            raise InvalidInput(f"unknown; expected one of {', '.join(sorted(allowed))}", field=f"{where}.{key}")
