"""The route file as values: YAML text -> RouteSpec, whole or not at all.

Written by the operator or by hand (design: "the route file"); read by the watcher, which turns entries into active bundles. A
file that is wrong in any place is refused with the place, so that the route applied before stays.
"""

import re
from dataclasses import dataclass
from reprlib import Repr
from typing import Any, Literal
from urllib.parse import urlsplit

from penstock.errors import InvalidInput, TooLarge
from penstock.features.document import read_document

# Some hundreds of bundles; reading more than that would hold up whoever reads it.
MAX_BYTES = 64 * 1024
# Exact in JSON's numbers, and so in every tool that compares revisions.
MAX_REVISION = 2**53 - 1
_FORMATS = (1,)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ROUTE_KEYS = {"formatVersion", "revision", "model", "bundles"}
_ENTRY_KEYS = {"digest", "predictor", "weight", "mode", "fraction", "verify", "model", "arm"}
_ARMS = ("baseline",)


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One bundle of the route. `predictor` is an http(s) URL; `model` the name that this predictor serves it under, None for the
    route's own. `verify` none: a foreign server that knows no digests; `digest` may then be empty. `arm`: baseline, or "": other
    pods of a bundle that has an entry already, whose share of its requests is counted by itself."""

    digest: str
    predictor: str
    weight: float = 0.0
    mode: Literal["live", "shadow"] = "live"
    fraction: float = 0.0
    verify: Literal["digest", "none"] = "digest"
    model: str | None = None
    arm: str = ""


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A whole route file. Weights are relative; at least one live entry has one above 0."""

    revision: int
    model: str
    bundles: tuple[RouteEntry, ...]


def read_route(text: str, model: str) -> RouteSpec:
    """Parse and check a route file for `model`. Raises InvalidInput naming the field that is wrong.

    Takes time by the length of the text, milliseconds at most: whoever serves requests does it in a thread."""
    if len(text) > MAX_BYTES:
        raise TooLarge(f"{len(text)} characters, the limit is {MAX_BYTES}", field="route")
    document = read_document(text, "route")
    _only(document, _ROUTE_KEYS, "route")
    version = document.get("formatVersion")
    if type(version) is not int or version not in _FORMATS:
        raise InvalidInput(f"expected 1, got {_shown(version)}", field="formatVersion")
    revision = document.get("revision")
    if type(revision) is not int or not 0 <= revision <= MAX_REVISION:
        raise InvalidInput(f"expected a whole number from 0 to 2^53 - 1, got {_shown(revision)}", field="revision")
    if document.get("model") != model:
        raise InvalidInput(f"expected {model!r}, the model served here, got {_shown(document.get('model'))}", field="model")
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
        raise InvalidInput(f"expected sha256: and 64 hex digits, got {_shown(digest)}", field=f"{where}.digest")
    mode = _one_of(entry.get("mode", "live"), ("live", "shadow"), f"{where}.mode")
    unfit = "fraction" if mode == "live" else "weight"
    if unfit in entry:
        raise InvalidInput(f"does not belong to a {mode} entry", field=f"{where}.{unfit}")
    model = entry.get("model")
    if model is not None and (not isinstance(model, str) or not model):
        raise InvalidInput(f"expected a name, got {_shown(model)}", field=f"{where}.model")
    return RouteEntry(
        digest=digest,
        predictor=_address(entry.get("predictor"), f"{where}.predictor"),
        weight=_number(entry.get("weight"), f"{where}.weight", 1e9) if mode == "live" else 0.0,
        mode="live" if mode == "live" else "shadow",
        fraction=_number(entry.get("fraction", 1.0), f"{where}.fraction", 1.0) if mode == "shadow" else 0.0,
        verify="none" if verify == "none" else "digest",
        model=model,
        arm=_arm(entry, f"{where}.arm"),
    )


def _arm(entry: dict[str, Any], where: str) -> str:
    if "arm" not in entry:
        return ""
    if entry.get("mode", "live") != "live":
        raise InvalidInput("does not belong to a shadow entry", field=where)
    if not entry.get("digest"):
        raise InvalidInput("only a bundle with a digest has arms", field=where)
    return _one_of(entry["arm"], _ARMS, where)


def _check_together(bundles: tuple[RouteEntry, ...]) -> None:
    if not any(b.mode == "live" and b.weight > 0 for b in bundles):
        raise InvalidInput("no live bundle has a weight above 0", field="bundles")
    seen: set[tuple[str, str]] = set()
    mains = {bundle.digest for bundle in bundles if not bundle.arm}
    foreign: set[tuple[str, str | None]] = set()
    for index, bundle in enumerate(bundles):
        if bundle.digest and (bundle.digest, bundle.arm) in seen:
            what = f" as {bundle.arm}" if bundle.arm else ""
            raise InvalidInput(f"this digest is named twice{what}", field=f"bundles[{index}].digest")
        if bundle.arm and bundle.digest not in mains:
            raise InvalidInput("no entry without an arm has this digest", field=f"bundles[{index}].arm")
        if not bundle.digest and (bundle.predictor, bundle.model) in foreign:
            reason = "this predictor is named twice, without a digest to tell the entries apart"
            raise InvalidInput(reason, field=f"bundles[{index}].predictor")
        if not bundle.digest:
            foreign.add((bundle.predictor, bundle.model))
        seen.add((bundle.digest, bundle.arm))


def _address(value: Any, where: str) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
        good = good and parts is not None and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good:
        shown = "one with a password in it" if isinstance(value, str) and "@" in value else _shown(value)
        raise InvalidInput(f"expected http://HOST[:PORT] or https://HOST[:PORT], got {shown}", field=where)
    return str(value)


def _number(value: Any, where: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise InvalidInput(f"expected a number from 0 to {most:g}, got {_shown(value)}", field=where)
    return float(value)


def _one_of(value: Any, allowed: tuple[str, ...], where: str) -> str:
    if value not in allowed:
        raise InvalidInput(f"expected one of {', '.join(allowed)}, got {_shown(value)}", field=where)
    return str(value)


def revision_of(text: str) -> int | None:
    """The revision that a text names which is wrong elsewhere, as far as it can be made out."""
    found = re.search(r"^revision:[ \t]*([0-9]{1,16})[ \t]*(?:#.*)?$", text[:MAX_BYTES], re.MULTILINE)
    return int(found[1]) if found else None


_short = Repr()
_short.maxlevel, _short.maxstring, _short.maxother, _short.maxlong = 2, 100, 100, 40
_shown = _short.repr


def _only(mapping: dict[Any, Any], allowed: set[str], where: str) -> None:
    for key in mapping:
        if key not in allowed:
            raise InvalidInput(f"unknown; expected one of {', '.join(sorted(allowed))}", field=f"{where}.{str(key)[:80]}")
