"""Predictions over HTTP, with the real `penstock serve` and its default database: every form, every line of the resource."""

import base64
import io
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from penstock.testing.flights import serve_flights
from penstock.testing.server import ServerProcess

SUBMIT, PREDICT = "/models/flights/predictions", "/models/flights/predict"
ROWS = {"rows": [{"distance": 3.5, "carrier": "UA"}, {"distance": 7}]}
WAIT = {"prefer": "wait=20"}
CSV, NDJSON = {"content-type": "text/csv"}, {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve_flights(tmp_path_factory.mktemp("predictions")) as server:
        yield server


@pytest.fixture(scope="module")
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def picture(kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("L", (4, 4), 51).save(out, kind)
    return out.getvalue()


def binary(values: Any = (1.5, 2.5), **asked: Any) -> tuple[bytes, dict[str, str]]:
    data = np.array(values, "<f4").tobytes()
    tensor = {"name": "distance", "datatype": "FP32", "shape": [len(values)], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], **asked}).encode()
    return head + data, {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}


def test_an_id_at_once_and_the_result_under_it(http: httpx.Client) -> None:
    answer = http.post(SUBMIT, json=ROWS)
    assert answer.status_code == 202
    document = answer.json()
    assert answer.headers["location"] == document["links"]["self"] == f"/predictions/{document['id']}"
    assert answer.headers["x-request-id"] == document["id"]
    assert (document["state"], document["model"], document["rows"]) == ("starting", "flights", 2)
    ended = http.get(answer.headers["location"], headers=WAIT).json()
    assert ended["state"] == "succeeded"
    assert ended["result"] == http.post(PREDICT, json=ROWS).json()
    assert ended["bundle"] == ended["result"]["bundle"]
    times = [datetime.fromisoformat(ended[name]) for name in ("created_at", "started_at", "ended_at", "expires_at")]
    assert times == sorted(times)
    assert times[0].tzinfo is not None
    assert times[3] - times[2] == timedelta(days=7)


@pytest.mark.parametrize(
    "path, content, headers",
    [
        ("flights", json.dumps(ROWS).encode(), {}),
        (
            "flights",
            json.dumps({**ROWS, "options": {"data": False}}).encode(),
            {"content-type": "application/json; charset=utf-8"},
        ),
        ("flights", json.dumps(ROWS).encode(), {"content-type": "application/x-www-form-urlencoded"}),
        ("flights", b"distance,carrier\n3.5,UA\n7,\n", CSV),
        ("flights?data=false", b"distance\n3.5\n7\n", CSV),
        ("pictures", picture(), {"content-type": "image/png"}),
        ("pictures", picture("JPEG"), {"content-type": "image/jpeg"}),
        ("pictures", json.dumps({"rows": [{"picture": base64.b64encode(picture()).decode()}]}).encode(), {}),
    ],
)
def test_every_form_that_predict_takes(http: httpx.Client, path: str, content: bytes, headers: dict[str, str]) -> None:
    model, _, query = path.partition("?")
    submitted = http.post(f"/models/{model}/predictions?{query}", content=content, headers={**headers, **WAIT})
    now = http.post(f"/models/{model}/predict?{query}", content=content, headers=headers)
    assert (submitted.status_code, now.status_code) == (200, 200), submitted.text
    assert submitted.json()["result"] == now.json()


def test_forms_and_lines(http: httpx.Client) -> None:
    files = [("picture", ("a", picture())), ("picture", ("b", picture("JPEG")))]
    submitted = http.post("/models/pictures/predictions", files=files, headers=WAIT).json()
    assert submitted["result"] == http.post("/models/pictures/predict", files=files).json()
    assert submitted["rows"] == 2
    lines = "".join(f"{json.dumps(row)}\n" for row in ROWS["rows"])
    submitted = http.post(SUBMIT, content=lines, headers={**NDJSON, **WAIT}).json()
    assert submitted["result"] == http.post(PREDICT, json=ROWS).json()


def test_tensors_in_json_and_in_binary(http: httpx.Client) -> None:
    tensors = {"inputs": [{"name": "distance", "datatype": "FP32", "shape": [2], "data": [1.5, 2.5]}]}
    document = http.post(SUBMIT, json=tensors, headers=WAIT).json()
    now = http.post("/v2/models/flights/infer", json=tensors).json()
    assert document["result"]["outputs"] == now["outputs"]
    assert document["rows"] == 2
    body, headers = binary()
    assert http.post(SUBMIT, content=body, headers={**headers, **WAIT}).json()["result"]["outputs"] == now["outputs"]
    body, headers = binary(parameters={"binary_data_output": True})
    document = http.post(SUBMIT, content=body, headers={**headers, **WAIT}).json()
    assert document["state"] == "succeeded"
    assert "result" not in document
    result, kept = http.get(document["links"]["result"]), http.get(document["links"]["input"])
    length = int(result.headers["inference-header-content-length"])
    assert np.frombuffer(result.content[length:], "<f4") == pytest.approx(np.ravel(now["outputs"][0]["data"]))
    assert kept.content == body
    assert kept.headers["inference-header-content-length"] == headers["inference-header-content-length"]


def test_the_input_is_kept_as_it_was_sent(http: httpx.Client) -> None:
    sent = b' {"rows" : [ {"distance": 1.50} ] } '
    document = http.post(SUBMIT, content=sent).json()
    kept = http.get(document["links"]["input"])
    assert (kept.content, kept.headers["content-type"]) == (sent, "application/json")
    document = http.post(SUBMIT, content="distance\n1.5\n", headers=CSV).json()
    assert http.get(document["links"]["input"]).json() == {"rows": [{"distance": 1.5}]}


def test_a_large_input_lies_beside_the_database(http: httpx.Client, server: ServerProcess, tmp_path: Path) -> None:
    values = np.arange(100_000, dtype="<f4")
    body, headers = binary(values, parameters={"binary_data_output": True})
    document = http.post(SUBMIT, content=body, headers={**headers, **WAIT}).json()
    assert document["state"] == "succeeded"
    assert document["rows"] == 100_000
    assert http.get(document["links"]["input"]).content == body
    assert len(http.get(document["links"]["result"]).content) > 400_000


@pytest.mark.parametrize(
    "content, headers, status, field",
    [
        (b"", {}, 400, "body"),
        (b"{", {}, 400, "body"),
        (b"[]", {}, 400, "body"),
        (b'{"row": []}', {}, 400, "row"),
        (b'{"rows": [{"distance": "far"}]}', {}, 400, "rows[0].distance"),
        (b'{"rows": [{"distance": 1}, {"distence": 1}]}', {}, 400, "rows[1].distence"),
        (b'{"rows": [{"distance": 1, "seats": 1}]}', {}, 400, "rows[0].seats"),
        (b'{"rows": [{"distance": 1, "tailnum": 7}]}', {}, 400, "rows[0].tailnum"),
        (b'{"rows": [], "options": {"dta": true}}', {}, 400, "options.dta"),
        (b"distance\nfar\n", CSV, 400, "rows[0].distance"),
        (b"distence\n1\n", CSV, 400, "header[0]"),
        (b"distance\ninf\n", CSV, 400, "rows[0].distance"),
        (b'{"distance": 1}\n[]\n', NDJSON, 400, "rows[1]"),
        (b'{"inputs": []', {"inference-header-content-length": "x"}, 400, "Inference-Header-Content-Length"),
        (b"\0\0", {"content-type": "application/octet-stream"}, 400, "Inference-Header-Content-Length"),
        (b'{"inputs": [{"name": "distance", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}', {}, 400, "rows[0].distance"),
        (b'{"inputs": [{"name": "nothing", "datatype": "FP32", "shape": [1], "data": [1]}]}', {}, 400, "nothing"),
        (b"x", {"content-type": "text/plain"}, 415, "Content-Type"),
        (b"x", {"content-type": "application/vnd.apache.arrow.stream"}, 400, "body"),
        (b"x", {"content-encoding": "gzip"}, 415, "Content-Encoding"),
        (b"{}", {"penstock-timeout-ms": "soon"}, 400, "Penstock-Timeout-Ms"),
        (b'{"rows": []}', {"idempotency-key": "k" * 256}, 400, "Idempotency-Key"),
        (b'{"rows": []}', {"penstock-expect-bundle": "sha256:1"}, 400, "Penstock-Expect-Bundle"),
    ],
)
def test_what_is_wrong_is_said_at_once_with_its_field(
    http: httpx.Client, content: bytes, headers: dict[str, str], status: int, field: str | None
) -> None:
    answer = http.post(SUBMIT, content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json().get("field") == field, answer.text


def test_what_only_the_prediction_finds_is_its_error(http: httpx.Client) -> None:
    document = http.post(SUBMIT, json={"rows": [{"carrier": "UA", "flight_id": "none"}]}, headers=WAIT).json()
    assert document["state"] == "failed"
    assert document["error"]["status"] == 400
    assert (document["error"]["kind"], document["error"]["field"]) == ("invalid_input", "rows[0].flight_id")
    other = {"penstock-expect-bundle": "sha256:" + "0" * 64}
    assert http.post(SUBMIT, json=ROWS, headers=other).status_code == 202


def test_unknown_models_and_ids(http: httpx.Client) -> None:
    assert http.post("/models/nobody/predictions", json=ROWS).status_code == 404
    for path in ("", "/input", "/result", "/events"):
        for id in ("nobody", "%00", "a" * 300, "a%2Fb"):
            answer = http.get(f"/predictions/{id}{path}")
            assert answer.status_code == 404, answer.url
    assert http.post("/predictions/nobody/cancel").status_code == 404
    assert http.post("/predictions/nobody").status_code == 405


def test_a_key_names_one_request(http: httpx.Client) -> None:
    key = {"idempotency-key": "one order"}
    first = http.post(SUBMIT, json=ROWS, headers={**key, "penstock-timeout-ms": "9000"})
    again = http.post(SUBMIT, json=ROWS, headers={**key, "penstock-timeout-ms": "8000"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert first.json()["idempotency_key"] == "one order"
    other = http.post(SUBMIT, json={"rows": [{"distance": 1}]}, headers=key)
    assert (other.status_code, other.json()["field"]) == (422, "Idempotency-Key")
    assert (
        http.post("/models/pictures/predictions", content=picture(), headers={**key, "content-type": "image/png"}).status_code
        == 422
    )


def test_the_same_at_the_same_time_is_one_prediction(http: httpx.Client) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: http.post(SUBMIT, json=ROWS, headers={"idempotency-key": "at once"}), range(32)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_predict_answers_by_an_id_where_it_is_asked_to(http: httpx.Client) -> None:
    answer = http.post(PREDICT, json=ROWS, headers={"prefer": "respond-async"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    now = http.post(PREDICT, json=ROWS).json()
    assert http.get(answer.headers["location"], headers=WAIT).json()["result"] == now
    answer = http.post(PREDICT, json=ROWS, headers={"prefer": "respond-async, wait=20"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "respond-async, wait=20")
    assert answer.json() == now
    assert answer.headers["penstock-bundle"] == now["bundle"]
    failed = http.post(PREDICT, json={"rows": [{"carrier": "UA"}]}, headers={"prefer": "respond-async, wait=20"})
    assert (failed.status_code, failed.json()["field"]) == (400, "rows[0].distance")
    assert http.post(PREDICT, json=ROWS, headers={"prefer": "handling=lenient"}).json() == now


def test_predict_of_many_rows_answers_by_an_id_unless_the_caller_waits(http: httpx.Client) -> None:
    many = {"rows": [{"distance": n} for n in range(1001)]}
    answer = http.post(PREDICT, json=many)
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    ended = http.get(answer.headers["location"], headers=WAIT).json()
    now = http.post(PREDICT, json=many, headers={"prefer": "wait"})
    assert (now.status_code, ended["result"]) == (200, now.json())
    assert http.post(PREDICT, json={"rows": many["rows"][:1000]}).status_code == 200
    table = "distance\n" + "".join(f"{n}\n" for n in range(1001))
    assert http.post(PREDICT, content=table, headers=CSV).status_code == 202
    assert http.post(PREDICT, content=table * 8, headers=CSV).status_code == 400
    assert http.post(PREDICT, content=table, headers={**CSV, "prefer": "wait"}).status_code == 200


def test_waiting_has_a_bound_and_needs_no_time(http: httpx.Client) -> None:
    answer = http.post(SUBMIT, json=ROWS, headers={"prefer": "wait=100000"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")
    answer = http.post(SUBMIT, json=ROWS, headers={"prefer": "wait=0"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")
    assert "preference-applied" not in http.post(SUBMIT, json=ROWS, headers={"prefer": "wait=soon, return=minimal"}).headers


def test_lists_by_model_state_and_time_a_page_at_a_time(http: httpx.Client) -> None:
    began = datetime.now(UTC)
    ids = [http.post(SUBMIT, json=ROWS, headers=WAIT).json()["id"] for _ in range(5)]
    failed = http.post(SUBMIT, json={"rows": [{"carrier": "UA", "flight_id": "none"}]}, headers=WAIT).json()["id"]
    image = http.post("/models/pictures/predictions", content=picture(), headers={"content-type": "image/png", **WAIT}).json()[
        "id"
    ]

    def found(**query: Any) -> list[str]:
        page = http.get("/predictions", params={"after": began.isoformat(), **query})
        assert page.status_code == 200, page.text
        return [one["id"] for one in page.json()["predictions"]]

    assert found() == [image, failed, *reversed(ids)]
    assert found(model="pictures") == [image]
    assert found(state="failed") == [failed]
    assert found(model="flights", state="succeeded") == list(reversed(ids))
    assert found(after=datetime.now(UTC).timestamp() + 60) == []
    assert found(before=began.isoformat(), limit=1) == []
    first = http.get("/predictions", params={"after": began.isoformat(), "limit": 4}).json()
    second = http.get("/predictions", params={"after": began.isoformat(), "limit": 4, "cursor": first["cursor"]}).json()
    assert [len(page["predictions"]) for page in (first, second)] == [4, 3]
    assert second["cursor"] is None
    assert all("result" not in one for one in first["predictions"])
    for query in ("cursor=x", "state=done", "after=soon", "limit=0", "limit=1001", "modell=x", "state=failed&state=succeeded"):
        assert http.get(f"/predictions?{query}").status_code == 400, query
    twice = http.get("/predictions?state=failed&state=succeeded").json()
    assert (twice["field"], twice["detail"]) == ("query.state", "expected it once")
    unknown = http.get("/predictions/none").json()
    assert (unknown["status"], unknown["field"]) == (404, "prediction_id")


def test_cancelling_what_has_ended_changes_nothing(http: httpx.Client) -> None:
    ended = http.post(SUBMIT, json=ROWS, headers=WAIT).json()
    answer = http.post(f"/predictions/{ended['id']}/cancel")
    assert (answer.status_code, answer.json()) == (200, ended)


def test_events_end_with_the_result(http: httpx.Client, server: ServerProcess) -> None:
    id = http.post(SUBMIT, json=ROWS).json()["id"]
    said = subprocess.run(
        ["curl", "-sN", "-m", "30", f"{server.url}/predictions/{id}/events"], capture_output=True, check=True
    ).stdout
    events = [dict(line.split(": ", 1) for line in event.splitlines()) for event in said.decode().strip().split("\n\n")]
    assert events[-1]["event"] == "succeeded"
    assert [int(event["id"]) for event in events] == sorted({int(event["id"]) for event in events})
    assert json.loads(events[-1]["data"]) == http.get(f"/predictions/{id}").json()
    assert http.get(f"/predictions/{id}/events", headers={"last-event-id": "3"}).status_code == 204
    after = http.get(f"/predictions/{id}/events", headers={"last-event-id": "1"})
    assert after.headers["content-type"].startswith("text/event-stream")
    assert after.text.startswith("id: 3\nevent: succeeded\n")


def test_one_id_in_the_answer_the_log_and_the_database(http: httpx.Client, server: ServerProcess) -> None:
    answer = http.post(
        SUBMIT, json={"rows": [{"carrier": "UA", "flight_id": "none"}]}, headers={**WAIT, "x-request-id": "order-17"}
    )
    assert answer.headers["x-request-id"] == "order-17"
    id = answer.json()["id"]
    line = server.wait_event("prediction submitted", 10, lambda entry: entry["given_id"] == "order-17")
    assert line["request_id"] == id
    server.wait_event("record refused", 10, lambda entry: entry["request_id"] == id)
    assert server.cwd is not None
    with sqlite3.connect(f"file:{server.cwd}/.penstock/predictions.db?mode=ro", uri=True) as database:
        assert database.execute("select count(*) from penstock_predictions where id = ?", (id,)).fetchone() == (1,)
    database.close()


def test_the_document_says_how_it_is_called(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert {path for path in paths if "predictions" in path} == {
        "/models/{model}/predictions", "/predictions", "/predictions/{prediction_id}", "/predictions/{prediction_id}/cancel",
        "/predictions/{prediction_id}/input", "/predictions/{prediction_id}/result", "/predictions/{prediction_id}/events",
    }  # fmt: skip
    assert set(paths["/models/{model}/predictions"]["post"]["responses"]) >= {"200", "202", "400", "422", "429"}


def test_a_server_that_was_asked_for_none_keeps_nothing(tmp_path: Path) -> None:
    with serve_flights(tmp_path) as server:
        assert httpx.get(f"{server.url}/predictions").json() == {"predictions": [], "cursor": None}
        assert httpx.get(f"{server.url}/predictions/some").status_code == 404
        assert httpx.post(f"{server.url}{PREDICT}", json=ROWS).status_code == 200
        assert not (tmp_path / ".penstock").exists()
