"""How many requests come when, and what befalls all of them: the part of a trace that no version decides.

Time is cut into slots of SLOT_S. `Weather` holds one number a slot: arrivals, the chance that a request fails whatever serves
it, how slow everything is. Both arms of a rollout have the same weather; a rule that confuses it with the version is fooled.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLOT_S = 6
"""As often as the operator looks when it looks most often."""
KINDS = ("constant", "bursty", "daily")
_BURST_S, _CALM_S = 20.0, 100.0
_BURST, _CALM = 4.0, 0.4
"""Bursty: a sixth of the time four times the rate, else two fifths of it; the mean is the rate."""
_DAY_SWING = 0.8
_BREATH_S = 60.0
"""How long a slow moment of the whole service lasts."""


@dataclass(frozen=True)
class Outages:
    """Times when both versions fail together: so many an hour, so long, failing this share of requests and this much slower."""

    an_hour: float = 0.0
    seconds: float = 30.0
    failing: float = 0.3
    slower: float = 3.0


@dataclass(frozen=True)
class Sticky:
    """Callers who make this share of all requests between them, each under one route key.

    Now and then one of them sends what must fail: for `spell_s`, `spells_an_hour` times, this share of its requests. Theirs take
    `slower` times as long as other requests, more or less from caller to caller: `spread` is the standard deviation of the
    logarithm. The share `own` of a caller's answers is one score and one label, its own; the others are anybody's. Of the share
    `broken` of callers every request fails, whatever serves it.
    """

    share: float = 0.0
    callers: int = 1
    spells_an_hour: float = 6.0
    spell_s: float = 20.0
    failing: float = 0.5
    slower: float = 1.0
    spread: float = 0.0
    own: float = 0.0
    broken: float = 0.0


@dataclass(frozen=True)
class Traffic:
    """Requests a second on average, how they come, and what befalls them. `minutes`: the user's own rates instead, one a minute,
    over and over, begun anywhere."""

    rate: float = 200.0
    kind: str = "constant"
    minutes: tuple[float, ...] = ()
    outages: Outages = Outages()
    sticky: Sticky = Sticky()
    breath: float = 0.1
    """Standard deviation of the logarithm of how slow everything is at a moment."""


@dataclass(frozen=True)
class Weather:
    """One trace's surroundings; arrays by slot. `requests` of callers who come once, `rate` what comes of all by the mean of all
    time; `sticky` int [slots, callers], `spells` bool of the same shape."""

    requests: NDArray[np.int64]
    rate: NDArray[np.float64]
    failing: NDArray[np.float64]
    slowness: NDArray[np.float64]
    sticky: NDArray[np.int64]
    spells: NDArray[np.bool_]
    places: NDArray[np.float64]
    """Where each sticky caller's route key falls in [0, 1): those below the candidate's weight are the candidate's."""

    @property
    def slots(self) -> int:
        return len(self.requests)


def weather(traffic: Traffic, seconds: float, seed: int) -> Weather:
    """What comes in so many seconds: the same for the same seed. Raises ValueError for an unknown kind."""
    rng = np.random.default_rng([seed, 0])
    slots = math.ceil(seconds / SLOT_S)
    shape = _own(traffic, slots, rng) if traffic.minutes else _shape(traffic.kind, slots, rng)
    rate = traffic.rate * SLOT_S * shape
    callers = traffic.sticky.callers if traffic.sticky.share else 0
    outage = _spells(traffic.outages.an_hour, traffic.outages.seconds, (slots, 1), rng)[:, 0]
    slowness = np.exp(traffic.breath * _wandering(slots, rng)) * np.where(outage, traffic.outages.slower, 1.0)
    share = traffic.sticky.share
    return Weather(
        requests=rng.poisson(rate * (1 - share if callers else 1.0)),
        rate=shape,
        failing=np.where(outage, traffic.outages.failing, 0.0),
        slowness=slowness,
        sticky=rng.poisson(np.repeat(rate[:, None] * share / max(callers, 1), callers, axis=1)),
        spells=_spells(traffic.sticky.spells_an_hour, traffic.sticky.spell_s, (slots, callers), rng),
        places=rng.random(callers),
    )


def _own(traffic: Traffic, slots: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The user's rates, relative to `rate`, from a random minute on."""
    rates = np.asarray(traffic.minutes) / max(traffic.rate, 1e-9)
    minutes = (rng.integers(len(rates)) + np.arange(slots) * SLOT_S // 60) % len(rates)
    found: NDArray[np.float64] = rates[minutes]
    return found


def _shape(kind: str, slots: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The rate of each slot, relative to the mean."""
    if kind == "constant":
        return np.ones(slots)
    if kind == "bursty":
        burst = _spells(3600 / (_BURST_S + _CALM_S), _BURST_S, (slots, 1), rng)[:, 0]
        return np.where(burst, _BURST, _CALM)
    if kind == "daily":
        hours = rng.uniform(0, 24) + np.arange(slots) * SLOT_S / 3600
        return 1 + _DAY_SWING * np.sin(2 * np.pi * hours / 24)
    raise ValueError(f"expected one of {', '.join(KINDS)}, got {kind!r}")


def _spells(an_hour: float, seconds: float, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Spells that begin so often an hour and last so long on average, by slot; each column has its own."""
    if not an_hour:
        return np.zeros(shape, np.bool_)
    found = np.zeros(shape, dtype=bool)
    if an_hour <= 0 or not shape[1]:
        return found
    pause = max(3600 / an_hour - seconds, SLOT_S)
    ends, begins = min(SLOT_S / seconds, 1.0), min(SLOT_S / pause, 1.0)
    now = rng.random(shape[1]) < begins / (begins + ends)
    change = rng.random(shape)
    for slot in range(shape[0]):
        now = np.where(now, change[slot] >= ends, change[slot] < begins)
        found[slot] = now
    return found


def _wandering(slots: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Standard normal by slot, correlated over _BREATH_S."""
    kept = math.exp(-SLOT_S / _BREATH_S)
    noise = rng.standard_normal(slots)
    noise[1:] *= math.sqrt(1 - kept * kept)
    found = np.empty(slots)
    value = 0.0
    for slot, step in enumerate(noise.tolist()):
        value = kept * value + step
        found[slot] = value
    return found
