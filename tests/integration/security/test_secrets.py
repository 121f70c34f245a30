"""No request's data and no credential in logs, metrics or other callers' errors: canaries go everywhere, then are looked for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect as connect_websocket

from penstock.serving.security.keys import new_key
from penstock.serving.security.scopes import EVERYTHING
from penstock.testing.flights import serve_flights
from penstock.testing.oidc import AUDIENCE, OidcProvider

CANARY = "CANARY"


def canaries(url: str, key: str, provider: OidcProvider) -> list[httpx.Response]:
    """Requests of every kind, right and wrong, with a canary wherever a caller can put something."""
    mine = {"authorization": f"Bearer {key}"}
    row = {"distance": 500, "carrier": "CANARY-value", "flight_id": "CANARY-id"}
    tensor = {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["CANARY-data"]}
    answers: list[httpx.Response] = []
    with httpx.Client(base_url=url, headers=mine, timeout=20) as http:
        wrong_rows = [
            [row],
            [{**row, "distance": "CANARY-text"}],
            [{"CANARY-name": 1}],
            [{**row, "CANARY-more": "CANARY"}],
            "CANARY",
        ]
        answers += [http.post("/models/flights/predict", json={"rows": rows}) for rows in wrong_rows]
        answers += [
            http.post(
                "/models/flights/predict", content=b"distance,carrier\nCANARY,CANARY\n", headers={"content-type": "text/csv"}
            ),
            http.post("/models/flights/predict", content=b'{"CANARY', headers={"content-type": "CANARY/type"}),
            http.post("/models/flights/predict", files={"CANARY": ("CANARY", b"CANARY")}),
            http.post("/models/pictures/predict", content=b"CANARY", headers={"content-type": "image/png"}),
            http.post("/v2/models/flights/infer", json={"id": "CANARY-id", "inputs": [tensor]}),
            http.post("/v2/models/flights/infer", json={"inputs": [{**tensor, "datatype": "CANARY"}]}),
            http.post("/v2/models/flights/infer", content=b'{"CANARY'),
            http.post("/v1/models/flights:predict", json={"instances": [{"CANARY": "CANARY"}]}),
            http.put(
                "/records/CANARY-record?model=flights", json={"values": {"carrier": "CANARY", "distance": 5, "tailnum": "CANARY"}}
            ),
            http.put("/records/CANARY-record?model=flights", json={"values": {"CANARY": "CANARY"}}),
            http.get("/records/CANARY-none?model=flights"),
            http.get("/predict/CANARY-record?model=flights"),
            http.get("/predict/CANARY-record?model=flights&CANARY=CANARY"),
            http.post(
                "/records:import?model=flights",
                content=b"flight_id,CANARY\nCANARY,CANARY\n",
                headers={"content-type": "text/csv"},
            ),
            http.get("/CANARY/path?CANARY=CANARY"),
            http.request("CANARY", "/v2"),
            http.post("/models/CANARY-model/predict", json={"rows": [row]}),
            http.get("/v2", headers={"x-canary": "CANARY", "traceparent": "CANARY", "penstock-route-key": "CANARY"}),
            http.post("/v2/models/flights/infer", content=b"{}", headers={"penstock-timeout-ms": "CANARY"}),
            http.post("/v2/models/flights/infer", content=b"{}", headers={"penstock-expect-bundle": "CANARY"}),
        ]
        for value in (
            "Bearer CANARY",
            f"Bearer {key[:-1]}",
            f"Bearer {provider.token(sub='CANARY-sub', aud='x')}",
            "Basic CANARY",
            "CANARY",
        ):
            answers.append(http.post("/models/flights/predict", json={"rows": [row]}, headers={"authorization": value}))
            answers.append(http.get("/v2", headers={"authorization": value}))
    with connect_websocket(f"{url.replace('http', 'ws')}/v2/models/flights/stream", additional_headers=mine) as stream:
        stream.recv()
        for message in ("CANARY", json.dumps({"id": "CANARY", "inputs": [tensor]}), b"CANARY"):
            stream.send(message)
            stream.recv()
    return answers


def test_what_callers_send_is_in_no_log_no_metric_and_no_error_of_others(tmp_path: Path, provider: OidcProvider) -> None:
    key, entry = new_key("tester", EVERYTHING)
    (tmp_path / "keys").write_text(entry.line() + "\n")
    options = ("--oidc_issuer", provider.url, "--oidc_audience", AUDIENCE, "--api_keys", str(tmp_path / "keys"))
    env = {"PENSTOCK_CANARY": "CANARY-env"}
    with serve_flights(tmp_path, *options, "--log_requests", "true", env=env) as server:
        answers = canaries(server.url, key, provider)
        assert {answer.status_code for answer in answers} >= {200, 400, 401, 404, 415}
        assert not [answer for answer in answers if answer.status_code >= 500]
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {key}"}) as http:
            for path in ("/metrics", "/openapi.json", "/readyz", "/v2/models/flights"):
                assert CANARY not in http.get(path).text, path
            other = http.post("/models/flights/predict", json={"rows": [{"distance": "far"}]})
            assert other.status_code == 400
            assert CANARY not in other.text
        refused = [answer for answer in answers if answer.status_code in (401, 403)]
        assert len(refused) == 10
        for answer in refused:
            assert not any(secret in answer.text for secret in (CANARY, key[:-1]))
    found = [line for line in server.lines if CANARY in line or key[:-1] in line or "eyJ" in line]
    assert found == []
    assert len(server.lines) > 20


@pytest.mark.parametrize(
    "url", ["redis://user:HIDDEN@127.0.0.1:1/0", "redis://:HIDDEN#x@127.0.0.1:1", "postgresql://u:HIDDEN@127.0.0.1:1/d"]
)
def test_a_stores_password_is_nowhere(tmp_path: Path, url: str) -> None:
    with serve_flights(tmp_path / "made"):
        pass
    command = [
        sys.executable,
        "-m",
        "penstock_cli.serve",
        str(tmp_path / "made" / "flights"),
        "--log_level",
        "debug",
        "--http_port",
        "0",
    ]
    wrong: Any = subprocess.run([*command, "--feature_store", url], capture_output=True, text=True, timeout=60, check=False)
    assert wrong.returncode == 2
    assert "everybody on this machine can read a password" in wrong.stderr
    assert "HIDDEN" not in wrong.stderr + wrong.stdout
