"""A load that runs inside the cluster, in any pod with Python: `python3 - URL THREADS PER_SECOND STOP < load.py`.

Every thread keeps a connection and sends GET requests at a steady pace, until the file STOP exists; then one line of JSON tells
how many were answered with which status, what each bundle answered and when, and what went wrong with the others. A connection
that the server closed between two answers is opened anew; one that it closed in the middle of a request is a failure. Each
request has a route key of its own, so that bundles share them by their weights.
"""

import http.client
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

SHOWN = 300


class Sender(threading.Thread):
    """One connection's worth of requests."""

    def __init__(self, url: str, pause_s: float, stop: Path) -> None:
        super().__init__()
        parts = urlsplit(url)
        self.host, self.port, self.path = parts.hostname, parts.port or 80, parts.path
        self.pause_s = pause_s
        self.stop = stop
        self.statuses: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.failures: list[str] = []
        self.answers: list[tuple[float, str, str]] = []
        self.slowest_s = 0.0

    def run(self) -> None:
        connection = None
        sent = 0
        due = time.monotonic()
        while not self.stop.exists():
            due += self.pause_s
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(str(self.host), self.port, timeout=10)
                sent += 1
                connection.request("GET", self.path, headers={"Penstock-Route-Key": f"{self.name}-{sent}"})
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{time.time():.2f} {error!r}")
                connection = None
                continue
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.note(answer, body)
            if answer.will_close:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def note(self, answer: http.client.HTTPResponse, body: bytes) -> None:
        """Count it; of a prediction also when it came, what it names, and its last score."""
        self.statuses[str(answer.status)] += 1
        if answer.status != 200:
            self.refusals[f"{time.time():.2f} {body.decode(errors='replace')[:SHOWN]}"] += 1
            return
        scores = json.loads(body)["predictions"][0]["scores"]
        self.answers.append((time.time(), answer.headers.get("Penstock-Bundle", ""), f"{list(scores.values())[-1]:.6f}"))


def main() -> None:
    url, threads, per_second, stop = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    stop.unlink(missing_ok=True)
    senders = [Sender(url, threads / per_second, stop) for _ in range(threads)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    answers = sorted(answer for sender in senders for answer in sender.answers)
    print(
        json.dumps(
            {
                "statuses": sum((sender.statuses for sender in senders), Counter()),
                "bundles": Counter(named for _, named, _ in answers),
                "refusals": sum((sender.refusals for sender in senders), Counter()),
                "failures": [failure for sender in senders for failure in sender.failures],
                "slowest_s": max(sender.slowest_s for sender in senders),
                "answers": answers,
            }
        )
    )


main()
