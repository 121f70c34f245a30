"""Cancellations of what was handed in, each at a random moment: `Cancels`.

A caller asks until it is answered, and holds the platform to the answer: canceled, or how it had ended, and no more change.
"""

import heapq
import random
import threading
import time

import httpx

# From before the relay has seen it until long after its result is there, as often within each power of ten.
_SOONEST_EXP, _LATEST_EXP = -3.0, 0.7
_SLICE_S = 0.01


class Cancels(threading.Thread):
    """Cancels a share of what it is told of. `answers`: the state, by id, that the cancellation was answered with."""

    def __init__(self, url: str, share: float, seed: int) -> None:
        super().__init__(name="cancels", daemon=True)
        self.answers: dict[str, str] = {}
        self._url = url
        self._share = share
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._due: list[tuple[float, str]] = []
        self._stopping = threading.Event()

    def note(self, name: str) -> None:
        """This one was taken. Any thread."""
        if self._share and self._chance.random() < self._share:
            when = time.monotonic() + 10 ** self._chance.uniform(_SOONEST_EXP, _LATEST_EXP)
            with self._lock:
                heapq.heappush(self._due, (when, name))

    def run(self) -> None:
        with httpx.Client(timeout=10.0) as client:
            while True:
                name = self._next()
                if name is not None:
                    self.answers[name] = self._cancel(client, name)
                elif self._stopping.is_set() and not self._due:
                    return
                else:
                    time.sleep(_SLICE_S)

    def _next(self) -> str | None:
        with self._lock:
            return heapq.heappop(self._due)[1] if self._due and self._due[0][0] <= time.monotonic() else None

    def _cancel(self, client: httpx.Client, name: str) -> str:
        while True:
            try:
                answer = client.post(f"{self._url}/predictions/{name}/cancel")
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                return str(answer.json()["state"])
            if answer.status_code < 500 and answer.status_code != 429:
                # It was taken, and is known no more: no state is equal to this.
                return f"status {answer.status_code}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Return when all are answered. Raises RuntimeError if one never is."""
        self._stopping.set()
        self.join(120)
        if self.is_alive():
            raise RuntimeError("a cancellation is not answered even though nothing is killed any more")
