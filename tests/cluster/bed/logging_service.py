"""An InferenceService of the flights bundle whose transformers log every prediction into a claim, and what a test does with it:
asks, and tells what became of it.

Invariant: the log lies in a folder of this machine, which only our own cluster's claims do.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from bed import flights as example
from bed.flights import Flights
from bed.places import ROOT, RUN

LOG = "prediction-log"
FAR = 1200
"""Where flights of over so many miles are late, whatever the model has learnt elsewhere."""
_MOUNT = "/var/lib/penstock/log"


def logging_service(flights: Flights, name: str) -> dict[str, Any]:
    """manifests/inferenceservice.yaml under another name, with a log of all requests."""
    flights.cluster.volume(LOG, flights.namespace)
    document = example.inference_service()
    document["metadata"]["name"] = name
    transformer = document["spec"]["transformer"]
    (container,) = transformer["containers"]
    settings = {"LOG_RATE": "1", "LOG_DIR": _MOUNT, "LOG_PART_S": "1"}
    container["env"] += [{"name": f"PENSTOCK_TRANSFORMER_{key}", "value": value} for key, value in settings.items()]
    container["volumeMounts"].append({"name": "log", "mountPath": _MOUNT})
    transformer["volumes"].append({"name": "log", "persistentVolumeClaim": {"claimName": LOG}})
    return document


def folder(flights: Flights, claim: str) -> Path:
    """Where a claim lies on this machine."""
    return RUN / "volumes" / flights.namespace / claim


def known_flights(count: int) -> list[str]:
    """Flights that the store has, with planes that the fleet's table knows."""
    sys.path.insert(0, str(ROOT / "examples" / "flights"))
    from callers import flights as flights_of  # type: ignore[import-not-found]

    return random.Random(7).sample(flights_of()[0], count)


def goes_far(answer: httpx.Response) -> bool:
    """Whether a flight does that was predicted."""
    return bool(answer.json()["predictions"][0]["data"]["distance"] > FAR)


async def ask_and_tell(url: str, asked: Sequence[str], is_late: Callable[[httpx.Response], bool] = goes_far) -> int:
    """Predict each flight, and tell that those were late of which that is said, nine times of ten; how many outcomes were
    taken."""
    chance = random.Random(3)
    late = [chance.random() for _ in asked]

    async def one(http: httpx.AsyncClient, flight: str, draw: float) -> bool:
        answer = await http.get(f"/predict/{flight}")
        assert answer.status_code == 200, answer.text
        label = "late" if is_late(answer) != (draw < 0.1) else "on time"
        told = await http.post(f"/predictions/{answer.headers['x-request-id']}/outcome", json={"label": label})
        return told.status_code == 202

    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=8)) as http:
        return sum(await asyncio.gather(*(one(http, flight, draw) for flight, draw in zip(asked, late, strict=True))))
