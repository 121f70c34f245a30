"""Callers of the whole system: predictions asked for in every way, wrong ones too, in a thread of its own."""

import json
import threading
from contextlib import suppress

import confluent_kafka as ck
import httpx
from whole.system import MODEL, TOPICS, UPDATES, System


class Traffic:
    """Requests of every kind, again and again, until it is stopped."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._stopping = threading.Event()
        self._producer = ck.Producer({"bootstrap.servers": system.kafka.bootstrap, "linger.ms": 5})
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.rounds = 0
        self.failure: BaseException | None = None

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            with httpx.Client(timeout=20, headers={"Penstock-Timeout-Ms": "500"}) as client:
                while not self._stopping.is_set():
                    self._round(client)
                    self.rounds += 1
                    self._stopping.wait(0.2)
        except BaseException as failure:
            self.failure = failure
            raise

    def _round(self, client: httpx.Client) -> None:
        url = self._system.servers["transformer"].url
        predict = f"{url}/models/{MODEL}/predict"
        for number in range(1, 8):
            row = {"distance": 1.0 * number, "tailnum": f"N{number}"}
            # Many, since a distance from training is told of a hundred rows or more, and features are counted of few batches.
            client.post(predict, json={"rows": [row] * 40}, headers={"Penstock-Route-Key": f"{self.rounds}-{number}"})
        client.get(f"{url}/predict/{self.rounds % 19 + 1}")
        client.post(predict, json={"rows": [{"distance": 5.0, "tailnum": name} for name in ("N1", "BARE")]})
        for wrong in ({"distance": "far"}, {"distance": 1.0, "tailnum": "OLD"}, {"distance": 1.0, "tailnum": "none"}):
            client.post(predict, json={"rows": [wrong]})
        client.get(f"{url}/predict/999999")
        client.post(predict, json={"rows": [{"distance": 1.0, "tailnum": "N1"}]}, headers={"Penstock-Timeout-Ms": "0.01"})
        client.post(f"{url}/models/nothing/predict", json={"rows": []})
        made = client.post(f"{url}/models/{MODEL}/predictions", json={"rows": [{"distance": 3.0, "tailnum": "N2"}]})
        assert made.status_code == 202, made.text
        encoded = {
            "parameters": {"encoded": True},
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 150.0, 2.5]}],
        }
        client.post(f"{url}/v2/models/{MODEL}/infer", json=encoded)
        served = self._system.servers["serve"].url
        client.post(f"{served}/models/flights/predict", json={"rows": [{"distance": 5.0, "tailnum": "N1"}]})
        webhook = {"Penstock-Webhook": f"{served}/none"}
        client.post(f"{served}/models/flights/predictions", json={"rows": [{"distance": 5.0}]}, headers=webhook)
        self._write_kafka()

    def _write_kafka(self) -> None:
        requests, updates = TOPICS[0], UPDATES[0]
        for number in range(4):
            row = {"distance": 2.0 * number, "tailnum": f"N{number + 1}"}
            self._producer.produce(requests, json.dumps({"rows": [row]}).encode(), key=b"%d" % number)
        self._producer.produce(requests, b"not json", key=b"0")
        update = {"keys": {"tailnum": f"N{self.rounds % 19 + 1}"}, "values": {"seats": self.rounds, "weight": 2.0}}
        self._producer.produce(updates, json.dumps(update).encode(), key=b"k")
        late = {"keys": {"tailnum": "N1"}, "values": {"seats": 1, "weight": 2.0}, "event_time": 1000.0}
        self._producer.produce(updates, json.dumps(late).encode(), key=b"k")
        self._producer.produce(updates, b"not json", key=b"k")
        with suppress(BufferError):
            self._producer.poll(0)
