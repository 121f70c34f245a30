"""A prediction by id, as a caller makes it: handed in, and looked at until it has ended."""

import time
from typing import Any

import httpx
from bed.flights import MODEL, RECORD, Flights

ENDED_S = 180.0
WAITED_S = 30


def predict_by_id(flights: Flights) -> dict[str, Any]:
    """What is shown of the prediction of RECORD once it has ended. Asserts that it was taken with 202, and ends in time."""
    with (
        flights.cluster.reach(flights.namespace, f"{MODEL}-transformer", 80) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}", timeout=2 * WAITED_S) as http,
    ):
        taken = http.post(f"/models/{MODEL}/predictions", json={"rows": [{"flight_id": RECORD}]})
        assert taken.status_code == 202, taken.text
        deadline = time.monotonic() + ENDED_S
        while True:
            shown: dict[str, Any] = http.get(taken.headers["location"], headers={"Prefer": f"wait={WAITED_S}"}).json()
            if "ended_at" in shown:
                return shown
            assert time.monotonic() < deadline, shown
