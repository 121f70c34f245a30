"""The whole system as processes, one of each program.

    Redis, PostgreSQL, Kafka; predictor (three bundles), transformer (two live, one shadow), worker, relay, sink, updates,
    log sink (over a log with outcomes), `penstock serve`; the operator over a real API server

Labels of the targets are those that the chart's monitors give.
"""

import asyncio
import base64
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import yaml

from penstock.bundle.profile import PROFILE
from penstock.dataplane import TensorMetadata
from penstock.features.reading import read_spec
from penstock.testing.bundles import TRIPS, write_bundle
from penstock.testing.certificates import Authority
from penstock.testing.definitions import INFERENCE_SERVICES, chart_definition
from penstock.testing.flights import serve_flights
from penstock.testing.kafka import KafkaServer
from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.models import mlp
from penstock.testing.prediction_log import write_prediction_log
from penstock.testing.prometheus import Target
from penstock.testing.server import ServerProcess
from penstock.testing.servers import RedisServer, free_port
from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import TopicState
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import RowWrite

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
CHART = Path(__file__).resolve().parents[4] / "charts/penstock"
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
                TRIPS,
                name=MODEL,
                version=str(version),
                outputs=OUTPUTS,
                files={PROFILE: json.dumps(TRAINING).encode()},
            )
            for version in (1, 2, 3)
        ]
        (self.folder / "features.yaml").write_text(TRIPS)
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
    layout = read_spec(TRIPS).store
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
