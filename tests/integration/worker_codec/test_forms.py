"""Every form of a request through a real worker, written and read by kcat, which knows nothing of Penstock."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import jsonschema
import numpy as np
import pytest

from penstock.testing.flights import write_flights, write_store
from penstock.testing.programs import ProgramMissing, program
from penstock.testing.server import ServerProcess

WAIT_S = 60.0
SPECS = "@asyncapi/specs@6.11.1"
ROW = {"distance": 100.0, "carrier": "UA"}
TENSORS = {
    "inputs": [
        {"name": "distance", "datatype": "FP32", "shape": [1], "data": [100.0]},
        {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["UA"]},
    ]
}


class Line:
    """kcat, on the topics of a model that a worker serves."""

    def __init__(self, bootstrap, model, worker, folder):
        self.bootstrap = bootstrap
        self.model = model
        self.worker = worker
        self._folder = folder
        self._kcat = program("kcat")

    def send(self, value: bytes, *headers: str, key: str = "k", partition: int = 1) -> None:
        body = self._folder / "value"
        body.write_bytes(value)
        lines = [part for header in headers for part in ("-H", header)]
        where = ["-P", "-b", self.bootstrap, "-t", f"{self.model}.requests", "-k", key, "-p", str(partition)]
        subprocess.run([self._kcat, *where, *lines, str(body)], check=True, timeout=30)

    def answers(self, topic: str) -> list[dict]:
        """All committed records of a topic, as kcat shows them."""
        where = [
            "-C",
            "-b",
            self.bootstrap,
            "-t",
            f"{self.model}.{topic}",
            "-X",
            "isolation.level=read_committed",
            "-e",
            "-q",
            "-J",
        ]
        done = subprocess.run([self._kcat, *where], check=True, capture_output=True, text=True, timeout=30)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def answer(self, identity: str, topic: str = "predictions") -> dict:
        """The record with this id."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for found in self.answers(topic):
                if header(found, "ce_id") == identity:
                    return found
        raise AssertionError(f"no {topic} of {identity}:\n{self.worker.lines[-20:]}")


def header(found: dict, name: str) -> str | None:
    lines = found["headers"]
    return next((lines[at + 1] for at in range(0, len(lines), 2) if lines[at] == name), None)


@pytest.fixture(scope="module")
def line(kafka, tmp_path_factory):
    try:
        program("kcat")
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    folder: Path = tmp_path_factory.mktemp("forms")
    bundle, store = write_flights(folder / "flights"), write_store(folder / "online.db")
    options = ("--model_name", "forms", "--drain_delay_s", "0")
    with ServerProcess("penstock_predictor", *options, "--model_dir", str(bundle), "--profile_s", "0") as predictor:
        worker = ServerProcess(
            "penstock_transformer",
            *options,
            *("--predictor_host", f"127.0.0.1:{predictor.port}", "--feature_store", store, "--kafka_bootstrap", kafka.bootstrap),
            *("--kafka_create_topics", "true", "--kafka_partitions", "2", "--kafka_replication", "1", "--kafka_min_insync", "1"),
            program=("worker",),
        )
        with worker:
            yield Line(kafka.bootstrap, "forms", worker, folder)


def test_bare_json_is_answered_under_its_position(line):
    line.send(json.dumps({"rows": [ROW]}).encode(), key="first")
    found = line.answer("forms.requests/1/0")
    assert (found["key"], found["partition"]) == ("first", 1)
    assert json.loads(found["payload"])["predictions"][0]["label"] in ("late", "on time")
    assert header(found, "penstock-position") == "forms.requests/1/0"
    assert header(found, "content-type") == "application/json"


def test_json_rows_tensors_and_events_say_the_same(line):
    line.send(json.dumps({"rows": [ROW]}).encode(), "ce_id=rows", "content-type=application/json; charset=utf-8")
    line.send(json.dumps(TENSORS).encode(), "ce_id=tensors")
    event = {"specversion": "1.0", "id": "event", "source": "/tests", "type": "t", "data": {"rows": [ROW]}}
    line.send(json.dumps(event).encode(), "content-type=application/cloudevents+json")
    rows, event = (json.loads(line.answer(name)["payload"]) for name in ("rows", "event"))
    assert rows["predictions"] == event["predictions"]
    late = rows["predictions"][0]["scores"]["late"]
    assert json.loads(line.answer("tensors")["payload"])["outputs"][0]["data"] == pytest.approx([late])


def test_binary_tensors_are_answered_in_binary(line):
    carrier = b"\2\0\0\0UA"
    head = {
        "parameters": {"binary_data_output": True},
        "inputs": [
            {"name": "distance", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}},
            {"name": "carrier", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(carrier)}},
        ],
    }
    text = json.dumps(head).encode()
    length = f"inference-header-content-length={len(text)}"
    line.send(text + np.float32(100).tobytes() + carrier, "ce_id=binary", length, "content-type=application/octet-stream")
    found = line.answer("binary")
    assert header(found, "content-type") == "application/octet-stream"
    # What kcat shows of bytes that are no text is kcat's affair: the size is right, and the JSON before them.
    answer = json.JSONDecoder().raw_decode(found["payload"])[0]
    assert answer["outputs"][0]["parameters"] == {"binary_data_size": 4}


def test_trace_and_deadline_travel(line):
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    line.send(json.dumps({"rows": [ROW]}).encode(), "ce_id=traced", f"traceparent={trace}", "penstock-timeout-ms=60000")
    assert header(line.answer("traced"), "traceparent")[:36] == trace[:36]


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (b"?", (), "invalid_input"),
        (b'{"rows":[{"carrier":"UA"}]}', (), "invalid_input"),
        (b'{"rows":[{"flight_id":"nothing"}]}', (), "invalid_input"),
        (b"a,b\n1,2", ("content-type=text/csv",), "unsupported_type"),
        (json.dumps({"rows": [ROW]}).encode(), ("penstock-timeout-ms=never",), "invalid_input"),
    ],
)
def test_what_cannot_be_predicted_is_a_dead_letter_with_its_bytes(line, value, headers, reason):
    identity = base64.b32encode(value[:12]).decode()
    line.send(value, f"ce_id={identity}", "x=1", "x=2", *headers)
    found = line.answer(identity, "dead-letters")
    assert found["payload"] == value.decode()
    assert header(found, "penstock-reason") == reason
    sent = ["ce_id", identity, "x", "1", "x", "2", *(part for line in headers for part in line.split("="))]
    assert found["headers"][: len(sent)] == sent


def test_the_worker_shows_the_document_of_its_topics(line):
    made = httpx.get(f"{line.worker.url}/asyncapi.json").raise_for_status().json()
    assert made["channels"]["requests"]["address"] == "forms.requests"
    assert "distance" in made["components"]["schemas"]["rows"]["properties"]["rows"]["items"]["properties"]
    assert made["servers"]["kafka1"]["host"] == line.bootstrap


def test_the_document_is_one_by_asyncapis_own_schema(line, tmp_path):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm: apt-get install npm")
    if subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--silent", SPECS], cwd=tmp_path, capture_output=True
    ).returncode:
        pytest.skip(f"needs {SPECS} from an npm registry")
    schema = json.loads((tmp_path / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_bytes())
    jsonschema.Draft7Validator(schema).validate(httpx.get(f"{line.worker.url}/asyncapi.json").raise_for_status().json())
