"""A load over Kafka with librdkafka's client: `python kafka_load.py BOOTSTRAP TOPIC RECORD PER_SECOND`, until its input ends.

Then one line of JSON: how many records were written, each with the id `kafka-NUMBER`, and what went wrong with the others.
"""

import json
import sys
import threading
import time
from typing import Any

import confluent_kafka as ck

DELIVERED_S = 30.0


def wait_for_end(ended: threading.Event) -> None:
    """Whoever started this closes its input."""
    sys.stdin.read()
    ended.set()


def main() -> None:
    bootstrap, topic, record, per_second = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    ended = threading.Event()
    threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
    producer = ck.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    value = json.dumps({"rows": [{"flight_id": record}]}).encode()
    failures: list[str] = []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(str(error))

    sent = 0
    due = time.monotonic()
    while not ended.wait(max(0.0, due - time.monotonic())):
        due += 1 / per_second
        sent += 1
        identity = f"kafka-{sent}"
        headers: list[tuple[str, str | bytes | None]] = [("ce_id", identity.encode()), ("penstock-route-key", identity.encode())]
        producer.produce(topic, value, key=identity.encode(), headers=headers, on_delivery=delivered)
        producer.poll(0)
    producer.flush(DELIVERED_S)
    print(json.dumps({"sent": sent, "failures": failures}))


main()
