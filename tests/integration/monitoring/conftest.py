"""The whole system under traffic of every kind, and a real Prometheus that scrapes it.

    Redis, PostgreSQL, Kafka; predictor (three bundles), transformer (two live, one shadow), worker, relay, sink, updates,
    log sink (over a log with outcomes), `penstock serve`; the operator over a real API server; a thread that asks for
    predictions in every way, wrong ones too

Started once for the area, and ended with it. Labels of the targets are those that the chart's monitors give.
"""

import asyncio
import base64
import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import httpx
import pytest
import yaml

from penstock.bundle.profile import PROFILE
from penstock.dataplane import TensorMetadata
from penstock.features.reading import read_spec
from penstock.testing.bundles import write_bundle
from penstock.testing.certificates import Authority
from penstock.testing.definitions import INFERENCE_SERVICES, chart_definition
from penstock.testing.flights import serve_flights
from penstock.testing.folder_stack import FolderStack
from penstock.testing.kafka import KafkaServer
from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.models import mlp
from penstock.testing.prediction_log import write_prediction_log
from penstock.testing.prometheus import PrometheusServer, Target
from penstock.testing.server import ServerProcess
from penstock.testing.servers import PostgresServer, RedisServer, ServerMissing, free_port
from penstock.testing.waiting import until
from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import TopicState
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import RowWrite

FEATURES = """
formatVersion: 1
record: {set: trips, key: trip_id}
sets:
  trips: {view: trips, keys: {trip_id: trip_id}}
  planes: {view: planes, keys: {tailnum: tailnum}, maxAge: 10d}
features:
  - {name: distance, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: seats, from: planes.seats, type: int64, missing: {default: 100}, encode: {cast: {to: float32}}}
  - {name: weight, from: planes.weight, type: float32, missing: reject, encode: passthrough}
tensors: {x: [distance, seats, weight]}
store:
  project: test
  keySerialization: 3
  views:
    trips: {keys: {trip_id: int64}, values: {distance: double, tailnum: string}}
    planes: {keys: {tailnum: string}, values: {seats: int64, weight: double}}
"""
OUTPUTS = (TensorMetadata("y", "FP32", (-1, 1)),)
_TRAINED = {"count": 200, "min": 0.0, "max": 10.0, "mean": 5.0, "std": 2.5, "edges": [0.0, 5.0, 10.0], "counts": [100, 100]}
TRAINING = {
    "formatVersion": 1,
    "rows": 200,
    "features": {"distance": {"type": "float32", "missing": 0.0, **_TRAINED}},
    "predictions": {"values": _TRAINED},
}
MODEL = "trips"
TOPICS = [f"{MODEL}.{role}" for role in ("requests", "predictions", "dead-letters", "log", "outcomes")]
UPDATES = ["planes.updates", "planes.updates.dead-letters"]
CHART = Path(__file__).resolve().parents[3] / "charts/penstock"
RULES = CHART / "files/alerts.yaml"
CRD = CHART / "templates/modelversion-crd.yaml"
READY_S = 180.0
DAY_S = 86_400.0


class System:
    """What runs, by the component that its target is labelled with."""

    def __init__(self, folder: Path, stack: ExitStack, kafka: KafkaServer, database: str) -> None:
        self.folder = folder
        self._stack = stack
        self.servers: dict[str, ServerProcess] = {}
        self.redis = stack.enter_context(RedisServer())
        self.database = database
        self.kafka = kafka
        self.kubernetes = stack.enter_context(KubernetesServer())
        self.operator_port = free_port()
        self._prepare()
        self._start()

    def _prepare(self) -> None:
        admin = open_admin(BrokerSettings(kafka_bootstrap=self.kafka.bootstrap, kafka_client="confluent"))
        for topic in (*TOPICS, *UPDATES):
            admin.create(TopicState(topic, 2, 1, {}))
        admin.close()
        asyncio.run(_fill(self.redis.url()))
        self.digests = [
            write_bundle(
                self.folder / f"bundles/trips-{version}/1",
                mlp((3, 4, 1), seed=version),
                FEATURES,
                name=MODEL,
                version=str(version),
                outputs=OUTPUTS,
                files={PROFILE: json.dumps(TRAINING).encode()},
            )
            for version in (1, 2, 3)
        ]
        (self.folder / "features.yaml").write_text(FEATURES)
        write_prediction_log(self.folder / "log", labelled="flights", numbers=MODEL)

    def _start(self) -> None:
        self._run("predictor", "penstock_predictor", "--model_name", MODEL, "--model_dir", str(self.folder / "bundles"))
        self.servers["predictor"].wait_ready()
        route = self.folder / "route.yaml"
        route.write_text(yaml.safe_dump(self._route()))
        (self.folder / "serve").mkdir()
        self._start_serve()
        model = ["--model_name", MODEL, "--route_file", str(route), "--feature_store", self.redis.url()]
        kafka = ["--kafka_bootstrap", self.kafka.bootstrap]
        single = ["--kafka_replication", "1", "--kafka_min_insync", "1", "--kafka_create_topics", "true"]
        program = "penstock_transformer"
        self._run(
            "transformer", program, *model, *kafka, "--queues_refresh_s", "0.5", "--store_timeout_ms", "300", "--log_rate", "1"
        )
        self._run("worker", program, *model, *kafka, *single, "--queues_refresh_s", "0.5", way=("worker",))
        self._run("relay", program, *kafka, *single, way=("relay",))
        certificate = Authority("monitoring").issue(self.folder, "sink")
        tls = ["--tls_cert", str(certificate.cert), "--tls_key", str(certificate.key)]
        self._run("sink", program, *kafka, *tls, "--models", MODEL, way=("sink",))
        store = ["--feature_sets", "planes", "--features", str(self.folder / "features.yaml")]
        self._run("updates", program, *store, "--feature_store", self.redis.url(), *kafka, way=("updates",))
        quality = ["--quality_s", "1", "--quality_bounds", "accuracy=0.99", "--quality_rows", "2", "--log_part_s", "1"]
        log = ["--log_dir", str(self.folder / "log"), "--models", MODEL]
        self._run("log-sink", program, *kafka, *single, *log, *quality, way=("log-sink",))
        self._start_operator()
        for server in self.servers.values():
            server.wait_ready()

    def _start_operator(self) -> None:
        """Nobody plays KServe or the job controller: its versions stay where they are."""
        api = self.kubernetes
        api.define(chart_definition(CRD), INFERENCE_SERVICES)
        versions = f"/apis/penstock.dev/v1alpha1/namespaces/{api.namespace('ml')}/modelversions"
        for version, digest in enumerate(self.digests, 1):
            spec = {"inferenceService": MODEL, "bundle": {"uri": f"pvc://bundles/{version}", "digest": digest}}
            metadata = {"name": f"trips-{version}"}
            kind = {"apiVersion": "penstock.dev/v1alpha1", "kind": "ModelVersion"}
            api.request("POST", versions, {**kind, "metadata": metadata, "spec": spec})
        config = self.folder / "kubeconfig"
        config.write_text(yaml.safe_dump(api.kubeconfig("ml")))
        ports = ["--http_port", str(free_port()), "--admin_port", str(self.operator_port)]
        command = [sys.executable, "-m", "penstock_operator", "--kubeconfig", str(config), "--lease_namespace", "ml", *ports]
        log = self._stack.enter_context((self.folder / "operator.log").open("wb"))
        operator = self._stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
        self._stack.callback(operator.kill)

    def _start_serve(self) -> None:
        webhooks = ["--webhook_http", "true", "--webhook_networks", "127.0.0.0/8", "--webhook_ports", "0"]
        options = ["--drain_delay_s", "0", "--database", f"sqlite:///{self.folder}/serve/predictions.db", *webhooks]
        secret = "whsec_" + base64.b64encode(b"a secret of 32 bytes for a test!").decode()
        process = serve_flights(self.folder / "serve", *options, env={"PENSTOCK_SERVE_WEBHOOK_SECRET": secret})
        process.ready_s = READY_S
        self._stack.callback(_end, process)
        self.servers["serve"] = process.start()

    def _run(self, component: str, module: str, *options: str, way: tuple[str, ...] = ()) -> None:
        process = ServerProcess(module, *options, "--drain_delay_s", "0", env=self._environment(component), program=way)
        process.ready_s = READY_S
        self._stack.callback(_end, process)
        self.servers[component] = process.start()

    def _environment(self, component: str) -> dict[str, str]:
        needed = component in ("transformer", "relay", "sink")
        return {"PENSTOCK_TRANSFORMER_DATABASE": self.database} if needed else {}

    def _route(self) -> dict[str, Any]:
        address = self.servers["predictor"].url
        shares: list[dict[str, Any]] = [{"weight": 75}, {"weight": 25}, {"mode": "shadow", "fraction": 0.5}]
        bundles = [
            {"digest": digest, "predictor": address, "model": f"trips-{version}", **share}
            for version, (digest, share) in enumerate(zip(self.digests, shares, strict=True), 1)
        ]
        return {"formatVersion": 1, "revision": 42, "model": MODEL, "bundles": bundles}

    def targets(self) -> list[Target]:
        """Every program's admin port."""
        own = {"namespace": "platform", "pod": "operator-0", "component": "operator"}
        return [
            Target(f"127.0.0.1:{self.operator_port}", own, honoured=True),
            *self._targets(),
        ]

    def _targets(self) -> list[Target]:
        return [
            Target(
                f"127.0.0.1:{server.admin_port}",
                {
                    "namespace": "ml",
                    "pod": f"{component}-0",
                    "component": component,
                    "inferenceservice": MODEL,
                    "__scheme__": self._scheme(component),
                },
            )
            for component, server in self.servers.items()
        ]

    def metrics(self, component: str) -> str:
        """What a program exposes now."""
        if component == "operator":
            return httpx.get(f"http://127.0.0.1:{self.operator_port}/metrics", timeout=20).text
        address = f"{self._scheme(component)}://127.0.0.1:{self.servers[component].admin_port}/metrics"
        return httpx.get(address, timeout=20, verify=False).text

    def _scheme(self, component: str) -> str:
        return "https" if "--tls_cert" in self.servers[component].arguments else "http"


def _end(process: ServerProcess) -> None:
    process.signal(9)
    process.wait()


async def _fill(url: str) -> None:
    layout = read_spec(FEATURES).store
    assert layout is not None
    store = open_store(url, layout)
    await store.start()
    now = time.time()
    planes = [RowWrite("planes", (f"N{i}",), {"seats": 150 + i, "weight": 2.5}, now - 3600 * i) for i in range(1, 20)]
    planes.append(RowWrite("planes", ("OLD",), {"seats": 10, "weight": 1.0}, now - 30 * DAY_S))
    planes.append(RowWrite("planes", ("BARE",), {"weight": 1.0}, now))
    trips = [RowWrite("trips", (i,), {"distance": 10.0 * i, "tailnum": f"N{i}"}, now) for i in range(1, 20)]
    assert all(await store.write([*planes, *trips]))
    await store.close()


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


_HERE = FolderStack(__file__)
pytest_runtest_teardown, pytest_sessionfinish = _HERE.hooks()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaServer, postgres: PostgresServer) -> System:
    try:
        return System(tmp_path_factory.mktemp("system"), _HERE, kafka, postgres.own_schema())
    except ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def prometheus(system: System) -> PrometheusServer:
    """It has scraped everything for a while, under traffic, which goes on until the folder's last test."""
    try:
        server = _HERE.enter_context(PrometheusServer(system.targets(), rules=[RULES]))
    except ServerMissing as missing:
        pytest.skip(str(missing))
    traffic = _HERE.enter_context(Traffic(system))
    until(lambda: len(server.query("up == 1")) == len(system.servers) + 1, 30, "a scrape of every program")
    until(lambda: server.query("penstock_operator_leader == 1"), 30, "an operator that leads")
    system.servers["predictor"].signal(signal.SIGSTOP)
    away = "penstock_transformer_call_errors_total > 0"
    until(lambda: server.query(away) or traffic.failure, 30, "failed calls of the predictor")
    system.servers["predictor"].signal(signal.SIGCONT)
    system.redis.pause()
    errors = "penstock_transformer_store_errors_total > 0"
    until(lambda: server.query(errors) or traffic.failure, 30, "errors of the feature store")
    system.redis.resume()
    until(lambda: traffic.rounds > 8 or traffic.failure, 60, "traffic of every kind")
    assert traffic.failure is None
    return server
