"""Streamed features on a cluster: the chart's Deployment of `penstock-transformer updates` writes what Kafka brings into the
example's Redis. Two pods share the topic; as everywhere they run as nobody and are told nothing secret but by file.
"""

import json
import time

import yaml
from bed import chart, kafka
from bed.flights import MODEL, SECRET, Flights

UPDATES = f"penstock-{MODEL}-updates"
TOPIC = "planes.updates"
ROW = {"keys": {"tailnum": "N29917"}, "values": {"seats": 149, "built": 1999}}
READ = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9090/metrics").read().decode())
"""
DEADLINE_S = 120


def values() -> str:
    """What a user would write for it."""
    updates = {"enabled": True, "replicas": 2, "featureSets": ["planes"], "features": {"configMap": "flights-features"}}
    model = {"name": MODEL, "featureStore": {"existingSecret": SECRET}, "updates": updates}
    queues = {"enabled": True, "kafka": {"bootstrap": f"{kafka.NAME}:{kafka.PORT}"}}
    for part in ("relay", "sink"):
        queues[part] = {"enabled": False}
    return yaml.safe_dump({"models": [model], "async": queues})


def counted(place: Flights, what: str) -> float:
    """A counter of all its pods."""
    pods = place.kubectl(
        "get", "pods", "--selector=penstock.dev/component=updates", "--output=jsonpath={.items[*].metadata.name}"
    )
    shown = "".join(place.kubectl("exec", pod, "--", "python3", "-c", READ) for pod in pods.split())
    return sum(float(line.split()[1]) for line in shown.splitlines() if line.startswith(f"penstock_updates_{what}_total "))


def send(place: Flights, event_time: float) -> None:
    """An update as of a time, as any producer would."""
    command = ("kcat", "-P", "-b", f"{kafka.NAME}:{kafka.PORT}", "-t", TOPIC)
    place.kubectl("exec", "-i", kafka.NAME, "--", *command, text=json.dumps({**ROW, "event_time": event_time}))


def await_count(place: Flights, what: str, number: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while counted(place, what) < number:
        assert time.monotonic() < deadline, place.kubectl("logs", f"deployment/{UPDATES}", "--tail=20")
        time.sleep(0.5)


def test_an_update_reaches_the_store_once(flights: Flights) -> None:
    file = flights.bundle / "features.yaml"
    flights.kubectl("create", "configmap", "flights-features", f"--from-file={file}")
    kafka.install(flights.cluster, flights.namespace, (TOPIC, f"{TOPIC}.dead-letters"))
    template = ("template", chart.RELEASE, chart.CHART, "--kube-version=1.34.4", "--namespace", flights.namespace)
    only = "--show-only=templates/async/updates.yaml"
    given = flights.bundle.parent / "updates-values.yaml"
    given.write_text(values())
    flights.kubectl("apply", "--filename=-", text=flights.cluster.helm(*template, only, "--values", given))
    try:
        flights.kubectl("rollout", "status", f"deployment/{UPDATES}", "--timeout=180s", timeout_s=200)
        now = time.time()
        send(flights, now)
        await_count(flights, "written", 1)
        # The same again is no newer than what the store holds.
        send(flights, now)
        await_count(flights, "unchanged", 1)
        assert counted(flights, "written") == 1
        assert counted(flights, "refused") == 0
    finally:
        flights.kubectl("delete", f"deployment/{UPDATES}", f"poddisruptionbudget/{UPDATES}", "configmap/flights-features")
