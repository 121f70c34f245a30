"""What is wrong with the candidate of a simulated rollout, and how users spell it.

`errors=0.02` fails 2 % more requests, `latency=2` doubles every one, `latency=3:0.1` triples a tenth of them, `scores=0.2` moves
the outputs by that distance (total variation), `labels=0.1` gives another label to that share, `cold=3` is three times as slow
while its pods are young, which fades in 20 s to a third (`cold=3:5`: in 5 s), `stable-errors=0.02` is a fault of the version
before. `errors=0.02@100` comes only with all requests.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from penstock.errors import InvalidInput

KINDS = ("errors", "latency", "scores", "labels", "cold", "stable-errors")


@dataclass(frozen=True)
class Fault:
    """Differences of the candidate, none by default; `from_weight`: they come once it has this per cent of requests."""

    errors: float = 0.0
    latency: float = 1.0
    slow_share: float = 1.0
    scores: float = 0.0
    labels: float = 0.0
    cold: float = 1.0
    warm_s: float = 20.0
    stable_errors: float = 0.0
    from_weight: int = 0

    def at(self, weight: int) -> "Fault":
        """What of it shows while the candidate has this per cent of requests."""
        return self if weight >= self.from_weight else Fault(cold=self.cold, warm_s=self.warm_s, stable_errors=self.stable_errors)

    def __str__(self) -> str:
        """As users spell it."""
        parts = {
            "latency": "" if self.slow_share == 1 else f":{self.slow_share:g}",
            "cold": "" if self.warm_s == Fault.warm_s else f":{self.warm_s:g}",
        }
        at = f"@{self.from_weight}" if self.from_weight else ""
        said = [
            f"{one.name.replace('_', '-')}={getattr(self, one.name):g}{parts.get(one.name, '')}{at}"
            for one in fields(self)
            if one.name not in ("slow_share", "warm_s", "from_weight") and getattr(self, one.name) != one.default
        ]
        return " ".join(said) or "none"


def read_faults(texts: Iterable[str]) -> Fault:
    """One fault of all that was asked for. Raises InvalidInput naming what cannot be read."""
    fault = Fault()
    for text in texts:
        matched = re.fullmatch(r"([a-z-]+)=([0-9.]+)(?::([0-9.]+))?(?:@([0-9]+))?", text)
        kind = matched[1] if matched else text.split("=")[0]
        if matched is None or kind not in KINDS or (matched[3] and kind not in ("latency", "cold")):
            raise InvalidInput(f"expected KIND=SIZE with a kind of {', '.join(KINDS)}, got {text!r}", field="--fault")
        size = _number(matched[2], text)
        if kind not in ("latency", "cold") and size > 1:
            raise InvalidInput(f"expected a share of requests from 0 to 1, got {text!r}", field="--fault")
        sizes: dict[str, Any] = {kind.replace("-", "_"): size}
        fault = replace(fault, **sizes)
        if matched[3]:
            extra = _number(matched[3], text)
            fault = replace(fault, warm_s=max(extra, 0.1)) if kind == "cold" else replace(fault, slow_share=min(extra, 1.0))
        if matched[4]:
            fault = replace(fault, from_weight=int(matched[4]))
    return fault


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(f"expected a number, got {whole!r}", field="--fault") from None
