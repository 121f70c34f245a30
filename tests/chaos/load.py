"""Requests by both ways, each remembered until it is known to be taken: `Submissions` over HTTP, `Produced` straight to Kafka.

Callers do what careful callers do: they repeat a submission under the same `Idempotency-Key` until it is answered, and use a
producer that is idempotent and waits for all replicas. So whatever is lost or doubled after that is the platform's doing.
"""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
from cast import MODEL
from confluent_kafka import Producer

_POISON_EVERY = 50
_TIMEOUT_MS = "1800000"


def row(number: int) -> dict[str, Any]:
    """A request's row. One in fifty cannot be predicted: its dead letter is its one result."""
    return {"a": "poison"} if number % _POISON_EVERY == 0 else {"a": float(number % 97), "b": 1.0}


class Submissions(threading.Thread):
    """Submits over HTTP until told to stop; `taken` are the ids that were answered with 202, each told to `note`."""

    def __init__(self, url: str, pause_s: float, note: Callable[[str], None]) -> None:
        super().__init__(name="submissions", daemon=True)
        self._note = note
        self.taken: list[str] = []
        self.refused = 0
        self._url = f"{url}/models/{MODEL}/predictions"
        self._pause_s = pause_s
        self._stopping = threading.Event()

    def run(self) -> None:
        number = 0
        with httpx.Client(timeout=10.0) as client:
            while not self._stopping.wait(self._pause_s):
                number += 1
                self._submit(client, {"rows": [row(number)]})

    def _submit(self, client: httpx.Client, body: dict[str, Any]) -> None:
        # A time limit that only a clock which is an hour off can pass.
        headers = {"Idempotency-Key": uuid.uuid4().hex, "Penstock-Timeout-Ms": _TIMEOUT_MS}
        while True:
            try:
                answer = client.post(self._url, json=body, headers=headers)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 202:
                self.taken.append(answer.json()["id"])
                self._note(self.taken[-1])
                return
            if answer.status_code == 400:
                self.refused += 1
                return
            time.sleep(0.05)

    def stop(self) -> None:
        """Return when what was begun is answered. Raises RuntimeError if it never is."""
        self._stopping.set()
        self.join(120)
        if self.is_alive():
            raise RuntimeError("a submission is not answered even though nothing is killed any more")


class Produced(threading.Thread):
    """A foreign producer: JSON to `<model>.requests`, ids of its own; `taken` are those that the broker acknowledged."""

    def __init__(self, bootstrap: str, pause_s: float, seed: int) -> None:
        super().__init__(name="produced", daemon=True)
        self.taken: list[str] = []
        self._pause_s = pause_s
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "message.timeout.ms": 300_000, "log_level": 0}
        )

    def run(self) -> None:
        number = 0
        while not self._stopping.wait(self._pause_s):
            for _ in range(self._random.randint(1, 20)):
                number += 1
                self._produce(number)
            self._producer.poll(0)

    def _produce(self, number: int) -> None:
        name = f"produced-{number}"

        def acknowledged(error: object, _record: object) -> None:
            if error is None:
                self.taken.append(name)

        value = json.dumps({"rows": [row(number)]})
        headers = [("ce_id", name.encode()), ("content-type", b"application/json")]
        if number % 2:
            headers.append(("penstock-timeout-ms", _TIMEOUT_MS.encode()))
        self._producer.produce(f"{MODEL}.requests", value, key=f"key-{number % 31}", headers=headers, on_delivery=acknowledged)

    def stop(self) -> None:
        """Return when the broker has acknowledged all. Raises RuntimeError if it never does."""
        self._stopping.set()
        self.join()
        if self._producer.flush(120):
            raise RuntimeError("the broker does not acknowledge what was produced")
