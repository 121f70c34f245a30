"""One route for every way in: it changes under REST, v1, v2, encoded tensors, gRPC, streams, records and Kafka at once.

Each bundle's model gives another number for the same row, so that every answer shows which model made it, whatever it says.
"""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import httpx
import numpy as np
import pytest
import yaml
from websockets.sync.client import connect

from penstock.dataplane import TensorMetadata
from penstock.features.reading import read_spec
from penstock.onnx import load
from penstock.testing.bundles import write_bundle
from penstock.testing.committed import records
from penstock.testing.grpc_client import GrpcCaller, infer_message
from penstock.testing.kafka import KafkaServer
from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.models import mlp
from penstock.testing.server import ServerProcess
from penstock.testing.servers import RedisServer
from penstock.testing.shared_servers import started
from penstock.testing.waiting import until
from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import TopicState
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import RowWrite

MODEL = "everyway"
FEATURES = """
formatVersion: 1
record: {set: trips, key: trip_id}
sets:
  trips: {view: trips, keys: {trip_id: trip_id}}
features:
  - {name: distance, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: seats, from: request, type: float32, missing: {default: 150}, encode: passthrough}
tensors: {x: [distance, seats]}
store:
  project: test
  keySerialization: 3
  views:
    trips: {keys: {trip_id: int64}, values: {distance: double}}
"""
INPUTS, OUTPUTS = (TensorMetadata("x", "FP32", (-1, 2)),), (TensorMetadata("y", "FP32", (-1, 1)),)
X = np.array([[10.0, 150.0]], np.float32)
RULES = [
    {"apiGroups": [""], "resources": ["configmaps", "services"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
]
CHANGES = 8


class Versions:
    """Two bundles, a predictor process each, and a store with one record."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.digests: dict[str, str] = {}
        self.values: dict[str, float] = {}
        self.urls: dict[str, str] = {}
        for version in ("1", "2"):
            model = mlp((2, 4, 1), seed=int(version))
            self.digests[version] = write_bundle(
                folder / version, model, FEATURES, version=version, name=MODEL, inputs=INPUTS, outputs=OUTPUTS
            )
            self.values[version] = float(load(model).run({"x": X})[0][0, 0])
            name = f"{MODEL}-{version}"
            options = ("--model_name", name, "--model_dir", str(folder / version), "--profile_s", "0", "--drain_delay_s", "0")
            self.urls[version] = stack.enter_context(ServerProcess("penstock_predictor", *options)).url
        assert abs(self.values["1"] - self.values["2"]) > 1e-3

    def named(self, label: str) -> str:
        """The version that a label names."""
        return next(version for version, digest in self.digests.items() if label == f"{MODEL}@{digest}")

    def document(self, revision: int, **given: dict[str, Any]) -> str:
        """A route; `v1={"weight": 5}`. Each predictor serves under a name of its own."""
        entries = [
            {"digest": self.digests[v[1:]], "predictor": self.urls[v[1:]], "model": f"{MODEL}-{v[1:]}", **more}
            for v, more in given.items()
        ]
        return yaml.safe_dump({"formatVersion": 1, "revision": revision, "model": MODEL, "bundles": entries})


class FileRoutes:
    """The route as a file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "route.yaml"
        self.options = ("--route_file", str(self._file), "--route_poll_s", "0.05")
        self.environment: dict[str, str] = {}

    def write(self, text: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(text)
        new.replace(self._file)


class ConfigMapRoutes:
    """The route as a ConfigMap of a real API server, written as the operator writes it."""

    def __init__(self, kubernetes: KubernetesServer) -> None:
        self._kubernetes = kubernetes
        self.environment = kubernetes.environment
        kubernetes.namespace("here")
        account = kubernetes.account("here", "penstock-transformer", RULES)
        self.options = ("--service_account", str(account), "--predictor_host", "nobody.here")

    def write(self, text: str) -> None:
        name = f"penstock-route-{MODEL}"
        path = f"/api/v1/namespaces/here/configmaps/{name}"
        metadata = {"name": name, "labels": {"penstock.dev/route": MODEL}}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"route.yaml": text}}
        self._kubernetes.apply(path, document, manager="penstock-operator")


@pytest.fixture(params=["file", "configmap"])
def routes(request: pytest.FixtureRequest, tmp_path: Path) -> FileRoutes | ConfigMapRoutes:
    return FileRoutes(tmp_path) if request.param == "file" else ConfigMapRoutes(request.getfixturevalue("kubernetes"))


class Caller:
    """Calls in one way, again and again, and counts: the version that was named, or what was wrong."""

    def __init__(self, versions: Versions, name: str, once: Callable[[], tuple[str, float]]) -> None:
        self.name = name
        self.seen: Counter[str] = Counter()
        self._versions = versions
        self._once = once
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                label, value = self._once()
                version = self._versions.named(label)
                right = value == pytest.approx(self._versions.values[version], rel=1e-4)
                self.seen[version if right else f"{version} named, {value} answered"] += 1
            except Exception as error:
                self.seen[f"failed: {error!r:.300}"] += 1

    def end(self) -> Counter[str]:
        self._end.set()
        self._thread.join(30)
        return self.seen


def ways(server: ServerProcess, stack: ExitStack) -> dict[str, Callable[[], tuple[str, float]]]:
    """Every way in that answers at once: the bundle's label and the number."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": X[0].tolist()}
    column = {"name": "distance", "datatype": "FP32", "shape": [1], "data": [10.0]}
    keys = itertools.count()

    def asked(method: str, path: str, value: Callable[[Any], float], **given: Any) -> Callable[[], tuple[str, float]]:
        client = stack.enter_context(httpx.Client(base_url=server.url, timeout=30))

        def once() -> tuple[str, float]:
            headers = {"penstock-route-key": str(next(keys))}
            answer = client.request(method, path, headers=headers, **given)
            assert answer.status_code == 200, answer.text
            return answer.headers["penstock-bundle"], value(answer.json())

        return once

    caller = stack.enter_context(GrpcCaller(server.grpc_address))
    message = infer_message(MODEL, distance=np.array([10.0], np.float32))

    def grpc_call() -> tuple[str, float]:
        answer, trailers = caller.call("ModelInfer", message, penstock_route_key=str(next(keys)))
        return trailers["penstock-bundle"], float(np.frombuffer(answer.raw_output_contents[0], np.float32)[0])

    socket = stack.enter_context(connect(f"ws://127.0.0.1:{server.port}/v2/models/{MODEL}/stream"))

    def streamed() -> tuple[str, float]:
        request_id = str(next(keys))
        socket.send(json.dumps({"id": request_id, "parameters": {"penstock-route-key": request_id}, "inputs": [column]}))
        while "credit" in (answer := json.loads(socket.recv(timeout=30))):
            pass
        assert answer["id"] == request_id, answer
        return answer["parameters"]["bundle"], answer["outputs"][0]["data"][0]

    infer = f"/v2/models/{MODEL}/infer"
    return {
        "predict": asked("POST", f"/models/{MODEL}/predict", _value, json={"rows": [{"distance": 10.0}]}),
        "v1": asked("POST", f"/v1/models/{MODEL}:predict", _value, json={"instances": [{"distance": 10.0}]}),
        "v2": asked("POST", infer, _output, json={"inputs": [column]}),
        "encoded": asked("POST", infer, _output, json={"inputs": [tensor], "parameters": {"encoded": True}}),
        "record": asked("GET", "/predict/7", _value),
        "grpc": grpc_call,
        "stream": streamed,
    }


def _value(answer: Any) -> float:
    found: float = answer["predictions"][0]["value"]
    return found


def _output(answer: Any) -> float:
    found: float = answer["outputs"][0]["data"][0]
    return found


async def fill(url: str) -> None:
    layout = read_spec(FEATURES).store
    assert layout is not None
    store = open_store(url, layout)
    await store.start()
    assert all(await store.write([RowWrite("trips", (7,), {"distance": 10.0}, time.time())]))
    await store.close()


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """The URL of a store with one record."""
    with started(RedisServer) as server:
        asyncio.run(fill(server.url()))
        yield server.url()


@pytest.fixture(scope="module")
def brokered(kafka: KafkaServer) -> KafkaServer:
    """The broker, with the model's topics."""
    admin = open_admin(BrokerSettings(kafka_bootstrap=kafka.bootstrap, kafka_client="confluent"))
    for topic in ("requests", "predictions", "dead-letters"):
        admin.create(TopicState(f"{MODEL}.{topic}", 2, 1, {}))
    admin.close()
    return kafka


class Requests:
    """What goes in by Kafka, and what came of it."""

    def __init__(self, kafka: KafkaServer, versions: Versions) -> None:
        self._kafka = kafka
        self._versions = versions
        self._producer = ck.Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5})
        self._begun = time.time_ns()
        self.sent = 0

    def send(self, count: int) -> None:
        for _ in range(count):
            identity = f"{self._begun}-{self.sent}"
            headers: list[tuple[str, str | bytes | None]] = [
                ("ce_id", identity.encode()),
                ("penstock-route-key", str(self.sent).encode()),
            ]
            self._producer.produce(f"{MODEL}.requests", b'{"rows": [{"distance": 10.0}]}', key=identity, headers=headers)
            self.sent += 1
        assert self._producer.flush(30) == 0

    def answers(self) -> Counter[str]:
        """How often each version answered, by what the record says and by its number."""
        found: Counter[str] = Counter()
        for record in records(self._kafka.bootstrap, f"{MODEL}.predictions", f"{MODEL}.dead-letters"):
            if not (record.header("ce_id") or b"").startswith(str(self._begun).encode()):
                continue
            if record.topic != f"{MODEL}.predictions":
                found[f"failed: {record.headers!r:.500}"] += 1
                continue
            version = self._versions.named((record.header("penstock-bundle") or b"").decode())
            value = json.loads(record.value or b"")["predictions"][0]["value"]
            right = value == pytest.approx(self._versions.values[version], rel=1e-4)
            found[version if right else f"{version} named, {value} answered"] += 1
        return found


@pytest.mark.timeout(300)
def test_the_route_changes_under_every_way_in_at_once(
    routes: FileRoutes | ConfigMapRoutes, brokered: KafkaServer, redis: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        versions = Versions(tmp_path / "bundles", stack)
        routes.write(versions.document(1, v1={"weight": 1}))
        common = ("--model_name", MODEL, "--drain_delay_s", "0", "--feature_store", redis, *routes.options)
        server = ServerProcess("penstock_transformer", *common, "--workers", "2", grpc=True, env=routes.environment, ready_s=120)
        broker = ("--kafka_bootstrap", brokered.bootstrap, "--kafka_replication", "1", "--kafka_min_insync", "1")
        worker = ServerProcess("penstock_transformer", *common, *broker, program=("worker",), env=routes.environment, ready_s=120)
        stack.enter_context(server)
        stack.enter_context(worker)
        requests = Requests(brokered, versions)
        admin = stack.enter_context(httpx.Client(timeout=30))

        def acknowledged(revision: int) -> bool:
            told = [admin.get(f"{one.admin_url}/route").json() for one in (server, worker)]
            return all(answer["revision"] == revision and answer["error"] is None for answer in told)

        until(lambda: acknowledged(1), 60, "revision 1")
        callers = [Caller(versions, name, once) for name, once in ways(server, stack).items()]

        def all_called(before: list[int]) -> bool:
            return all(sum(caller.seen.values()) > count for caller, count in zip(callers, before, strict=True))

        shares: list[dict[str, dict[str, Any]]] = [
            {"v1": {"weight": 50}, "v2": {"weight": 50}},
            {"v2": {"weight": 100}},
            {"v2": {"weight": 95}, "v1": {"mode": "shadow", "fraction": 0.5}},
            {"v1": {"weight": 100}},
        ]
        for revision in range(2, CHANGES + 2):
            requests.send(50)
            before = [sum(caller.seen.values()) for caller in callers]
            routes.write(versions.document(revision, **shares[revision % len(shares)]))
            until(partial(acknowledged, revision), 60, f"revision {revision}")
            until(partial(all_called, before), 60, "a call of each way")
        seen = {caller.name: caller.end() for caller in callers}
        until(lambda: requests.answers().total() >= requests.sent, 60, "all of Kafka's answers")
        seen["kafka"] = requests.answers()
    print(seen)
    assert seen["kafka"].total() == requests.sent
    for name, counts in seen.items():
        assert set(counts) == {"1", "2"}, f"{name}: {counts}"
