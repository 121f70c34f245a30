"""curl, as docs/serving.md's tables say: every form of a request, and HTTP's own variations, against predictor and transformer.

The commands of the READMEs run to the letter in tests/integration/examples.
"""

import io
import json
import struct
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from penstock.testing.programs import ProgramMissing, program
from penstock.testing.server import ServerProcess


class Said(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def path() -> str:
    try:
        return program("curl")
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def curl(path: str, tmp_path: Path) -> Any:
    def run(*arguments: str, stdin: bytes = b"") -> Said:
        head = tmp_path / "head"
        command = [path, "--silent", "--show-error", "--max-time", "20", "--dump-header", str(head), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr.decode()
        # A final answer may come behind a 100 (Continue).
        lines = head.read_text().strip().split("\n\n")[-1].splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        return Said(int(lines[0].split()[1]), headers, done.stdout)

    return run


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = io.BytesIO()
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(data, "PNG")
    file = tmp_path_factory.mktemp("picture") / "white.png"
    file.write_bytes(data.getvalue())
    return file


def test_rows_in_every_form(curl: Any, transformer: ServerProcess) -> None:
    url = f"{transformer.url}/models/flights/predict"
    answers = [
        curl(url, "-d", '{"rows": [{"distance": 500, "carrier": "UA"}]}'),
        curl(url, "--json", '{"rows": [{"distance": 500, "carrier": "UA"}]}'),
        curl(url, "-H", "Content-Type: text/csv", "--data-binary", "distance,carrier\n500,UA\n"),
        curl(url, "-F", "distance=500", "-F", "carrier=UA"),
        curl(
            url,
            "-T",
            "-",
            "-X",
            "POST",
            "-H",
            "Content-Type: application/json",
            stdin=b'{"rows": [{"distance": 500, "carrier": "UA"}]}',
        ),
        curl(url, "--http1.0", "-d", '{"rows": [{"distance": 500, "carrier": "UA"}]}'),
        curl(url, "-H", "Expect: 100-continue", "-d", '{"rows": [{"distance": 500, "carrier": "UA"}]}'),
    ]
    assert [said.status for said in answers] == [200] * len(answers)
    scores = [said.json["predictions"][0]["scores"]["late"] for said in answers]
    assert len(set(scores)) == 1
    assert {said.headers["penstock-bundle"] for said in answers} == {answers[0].json["bundle"]}


def test_an_image_in_every_form(curl: Any, transformer: ServerProcess, picture: Path) -> None:
    url = f"{transformer.url}/models/pictures/predict"
    raw = curl(url, "-H", "Content-Type: image/png", "--data-binary", f"@{picture}")
    form = curl(url, "-F", f"picture=@{picture}", "-F", f"picture=@{picture}")
    assert [said.status for said in (raw, form)] == [200, 200], raw.body + form.body
    values = [prediction["value"] for said in (raw, form) for prediction in said.json["predictions"]]
    assert values == pytest.approx([1.0] * 3)


def test_a_record_from_put_to_delete(curl: Any, transformer: ServerProcess) -> None:
    record, query = f"{transformer.url}/records/a%2Fb", "?model=flights"
    assert curl(record + query, "-X", "PUT", "-d", '{"values": {"distance": 3, "carrier": "AA"}}').status == 201
    assert curl(record + query).json["values"]["distance"] == 3
    found = curl(f"{transformer.url}/predict/a%2Fb{query}&data=false")
    assert (found.status, found.json["record"]["carrier"], "data" in found.json["predictions"][0]) == (200, "AA", False)
    unusual = curl(f"{transformer.url}/predict/a%2Fb{query}", "--http1.0")
    assert (unusual.status, unusual.json["record"]["flight_id"]) == (200, "a/b")
    imported = curl(
        f"{transformer.url}/records:import{query}", "-H", "Content-Type: text/csv", "--data-binary", "flight_id,distance\nc,1\n"
    )
    assert imported.json["written"] == 1
    assert {entry["id"] for entry in curl(f"{transformer.url}/records{query}").json["records"]} == {"a/b", "c"}
    for id in ("a%2Fb", "c"):
        assert curl(f"{transformer.url}/records/{id}{query}", "-X", "DELETE").status == 204
    assert curl(record + query).status == 404


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_v2(curl: Any, predictor: ServerProcess, version: str, tmp_path: Path) -> None:
    at = f"{predictor.url}/v2/models/row_sum{version}"
    assert curl(at).json["name"] == "row_sum"
    assert curl(f"{at}/ready").status == 200
    body = {"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    said = curl(f"{at}/infer", "-d", json.dumps(body), "-H", "X-Request-Id: mine", "-H", "Penstock-Timeout-Ms: 5000")
    assert (said.status, said.json["outputs"][0]["data"], said.json["id"]) == (200, [6], "7")
    assert said.headers["x-request-id"] == "mine"
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}
    header = json.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    file = tmp_path / "body"
    file.write_bytes(header + struct.pack("<3f", 1, 2, 3.5))
    said = curl(f"{at}/infer", "-H", f"Inference-Header-Content-Length: {len(header)}", "--data-binary", f"@{file}")
    assert said.status == 200, said.body
    assert said.body[int(said.headers["inference-header-content-length"]) :] == struct.pack("<f", 6.5)


def test_v1_health_and_the_rest(curl: Any, predictor: ServerProcess, transformer: ServerProcess) -> None:
    assert curl(f"{predictor.url}/v1/models/row_sum:predict", "-d", '{"instances": [[1, 2, 3]]}').json["predictions"] == [6]
    rows = '{"instances": [{"distance": 500, "carrier": "UA"}]}'
    assert len(curl(f"{transformer.url}/v1/models/flights:predict", "-d", rows).json["predictions"]) == 1
    for server in (predictor, transformer):
        for path in (
            "/",
            "/v2",
            "/v2/health/live",
            "/v2/health/ready",
            "/healthz",
            "/readyz",
            "/metrics",
            "/openapi.json",
            "/docs",
        ):
            assert curl(server.url + path).status == 200, path
    assert curl(f"{transformer.url}/v2/models/flights/bundle/features.yaml").body.startswith(b"formatVersion")


def test_two_requests_on_one_connection(curl: Any, predictor: ServerProcess) -> None:
    said = curl(f"{predictor.url}/v2", f"{predictor.url}/v2", "-w", "%{num_connects} ")
    assert said.body.endswith(b"}0 ")


def test_refusals(curl: Any, predictor: ServerProcess, transformer: ServerProcess) -> None:
    url = f"{transformer.url}/models/flights/predict"
    bad = curl(url, "-d", '{"rows": [{"carrier": "UA"}]}')
    assert (bad.status, bad.json["field"], bad.headers["content-type"]) == (400, "rows[0].distance", "application/problem+json")
    assert curl(url, "-H", "Content-Encoding: gzip", "-d", "x").status == 415
    assert curl(url, "-H", "Content-Type: text/xml", "-d", "<a/>").status == 415
    assert curl(url, "-X", "DELETE").status == 405
    assert curl(f"{transformer.url}/nowhere").status == 404
    assert curl(url, "-H", "Penstock-Timeout-Ms: soon", "-d", '{"rows": []}').json["field"] == "Penstock-Timeout-Ms"
    expect = curl(url, "-H", f"Penstock-Expect-Bundle: sha256:{'0' * 64}", "-d", '{"rows": [{"distance": 1}]}')
    assert expect.status == 412
    v2 = curl(f"{predictor.url}/v2/models/row_sum/infer", "-d", '{"inputs": 3}')
    assert (v2.status, v2.json) == (400, {"error": "inputs: expected an array of tensors, got 3"})
