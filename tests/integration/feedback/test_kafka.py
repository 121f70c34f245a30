"""Over a real Kafka: the transformer writes the log, outcomes come over HTTP and from foreign producers, the sink fills a folder.

One story, since each program takes seconds to start: outcomes before their prediction, twice, of nobody; a sink that is killed.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import httpx
import pytest

from penstock.bundle.reading import open_bundle
from penstock.evidence.quality import QualityDocument, read_quality
from penstock.testing.committed import records
from penstock.testing.flights import write_flights, write_store
from penstock.testing.kafka import KafkaServer
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until
from penstock_cli.bundle.verifying import open_pipeline
from penstock_cli.replaying import Replayer, replay
from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import TopicState
from penstock_transformer.broker.settings import BrokerSettings
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.kafka import log_topic, outcomes_topic
from penstock_transformer.feedback.quality import qualities

MODEL = "feedback"
WAIT_S = 90.0
pytestmark = pytest.mark.timeout(400)


class Programs:
    """A predictor and a transformer that logs; sinks are started by the tests."""

    def __init__(self, kafka: KafkaServer, folder: Path, stack: ExitStack) -> None:
        self.kafka, self.folder, self.stack = kafka, folder, stack
        self.log = folder / "log"
        admin = open_admin(BrokerSettings(kafka_bootstrap=kafka.bootstrap, kafka_client="confluent"))
        for name in (log_topic, outcomes_topic):
            admin.create(TopicState(name(MODEL), 2, 1, {}))
        admin.close()
        self.bundle = write_flights(folder / "models" / MODEL / "1")
        models = ("--model_dir", str(folder / "models"), "--profile_s", "0")
        predictor = stack.enter_context(self._program("penstock_predictor", *models)).url.removeprefix("http://")
        self._store = ("--predictor_host", predictor, "--feature_store", write_store(folder / "online.db"))
        self.url = self.transformer(kafka.bootstrap)

    def transformer(self, bootstrap: str) -> str:
        """The address of one that logs there."""
        logging = ("--kafka_bootstrap", bootstrap, "--log_rate", "1", "--kafka_timeout_s", "10")
        return self.stack.enter_context(self._program("penstock_transformer", *self._store, *logging)).url

    def _program(self, name: str, *options: str) -> ServerProcess:
        return ServerProcess(name, "--model_name", MODEL, "--drain_delay_s", "0", *options)

    def sink(self, failpoints: str = "") -> ServerProcess:
        """A log sink, started and not awaited."""
        options = (
            "--kafka_bootstrap",
            self.kafka.bootstrap,
            "--models",
            MODEL,
            "--log_dir",
            str(self.log),
            "--log_part_s",
            "0.3",
        )
        process = ServerProcess(
            "penstock_transformer",
            *(*options, "--log_part_s", "0.3", "--kafka_instance", "a", "--kafka_session_timeout_s", "6", "--drain_delay_s", "0"),
            *("--quality_s", "0.3", "--log_sink_group", "feedback-sink"),
            env={"PENSTOCK_FAILPOINTS": failpoints},
            program=("log-sink",),
        )
        self.stack.callback(process.kill)
        return process.start()

    def predict(self, *distances: float) -> str:
        answer = httpx.post(f"{self.url}/models/{MODEL}/predict", json={"rows": [{"distance": d} for d in distances]}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-request-id"]

    def tell(self, identity: str, **outcome: Any) -> None:
        answer = httpx.post(f"{self.url}/predictions/{identity}/outcome", json=outcome, timeout=60)
        assert answer.status_code == 202, answer.text

    def produce(self, *values: bytes, **headers: bytes) -> None:
        producer = ck.Producer({"bootstrap.servers": self.kafka.bootstrap})
        for value in values:
            producer.produce(outcomes_topic(MODEL), value, headers=list(headers.items()))
        assert producer.flush(30) == 0


def summed(sink: ServerProcess, rows: int) -> QualityDocument | None:
    """What a sink tells of the model, once it has looked at so many rows."""
    told = read_quality(httpx.get(f"http://127.0.0.1:{sink.admin_port}/quality", params={"model": MODEL}, timeout=30).content)
    return told if told.logs and sum(entry.sums.rows for entry in told.logs[0].entries) == rows else None


@pytest.fixture(scope="module")
def programs(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with ExitStack() as stack:
        yield Programs(kafka, tmp_path_factory.mktemp("kafka-feedback"), stack)


def test_the_whole_way(programs: Programs, sample: Any) -> None:
    first = programs.predict(3.5, 4.5)
    programs.tell(first, label="on time", time=1000)
    programs.tell(first, label="late", time=2000)
    # Before its prediction, in another spelling of the headers, twice, and what is nobody's or nothing at all.
    early = f"{first}-early"
    programs.produce(b'{"label":"late","row":0}', b'{"label":"late","row":0}', CE_ID=early.encode())
    programs.produce(json.dumps({"id": "nobody", "label": "late"}).encode(), b"\xff{", b'{"label":"late"}')
    seen = until(lambda: records(programs.kafka.bootstrap, log_topic(MODEL)), WAIT_S, "the log on Kafka")
    assert seen[0].key == first.encode()
    assert seen[0].header("ce_type") == b"dev.penstock.prediction.logged.v1"
    assert b"flights@sha256:" in (seen[0].header("penstock-bundle") or b"")
    told = records(programs.kafka.bootstrap, outcomes_topic(MODEL))
    assert {one.header("ce_type") for one in told if one.key == first.encode()} == {b"dev.penstock.outcome.reported.v1"}
    # Killed between the file and the offsets: what it wrote is written again, and read once.
    assert programs.sink(failpoints="log_sink.written=kill@1").wait(90) == -signal.SIGKILL
    sink = programs.sink()
    answer = httpx.post(
        f"{programs.url}/models/{MODEL}/predict", json={"rows": [{"distance": 5.5}]}, headers={"x-request-id": early}, timeout=60
    )
    assert answer.status_code == 200
    folder = LogFolder(programs.log, MODEL)
    until(lambda: {row.id for row in folder.rows()} == {first, early}, WAIT_S, "both requests in the folder")
    assert sorted((row.id, row.row) for row in folder.rows()) == [(first, 0), (first, 1), (early, 0)]
    outcomes = until(
        lambda: folder.outcomes() if ("nobody", 0) in folder.outcomes() else {}, WAIT_S, "the outcomes in the folder"
    )
    del outcomes["nobody", 0]
    assert {key: outcome.label for key, outcome in outcomes.items()} == {(first, 0): "late", (early, 0): "late"}
    (quality,) = qualities(folder.rows(), outcomes)
    assert (quality.rows, quality.accuracy) == (2, 1.0)
    sink.wait_ready()
    measured = {"model": MODEL, "bundle": quality.bundle, "shadow": "false", "measure": "accuracy"}
    until(lambda: sample(sink.url, "penstock_quality", **measured) == 1.0, WAIT_S, "the quality at /metrics")
    assert sample(sink.url, "penstock_log_sink_records_total", kind="unreadable") == 2
    told_sums = until(lambda: summed(sink, rows=2), WAIT_S, "both rows in the sums on the admin port")
    assert told_sums is not None
    (entry,) = told_sums.logs[0].entries
    assert (entry.bundle, entry.shadow, entry.sums.right) == (quality.bundle.partition("@")[2], False, 2.0)
    # A route that nobody has written has no revision to speak of; every request is a unit of its own.
    assert (entry.revision, entry.sums.units.weight, entry.sums.units.wrong) == (0, 2.0, 0.0)
    assert told_sums.logs[0].incarnation == (programs.log / "folder-id").read_text()
    assert sink.stop() == 0
    report = replay(Replayer(open_pipeline(open_bundle(programs.bundle))), folder.rows())
    assert (report.rows, report.equal) == (3, 3), report


def test_a_broker_that_is_away_keeps_no_request_waiting(programs: Programs, sample: Any) -> None:
    url = programs.transformer("127.0.0.1:1")
    for distance in range(5):
        answer = httpx.post(f"{url}/models/{MODEL}/predict", json={"rows": [{"distance": distance}]}, timeout=60)
        assert answer.status_code == 200, answer.text
    answer = httpx.post(f"{url}/predictions/x/outcome", json={"label": "late"}, timeout=90)
    assert answer.status_code == 503, answer.text
    lost = {"model": MODEL, "result": "failed"}
    until(lambda: sample(url, "penstock_log_requests_total", **lost) == 5.0, WAIT_S, "what was lost is counted")
