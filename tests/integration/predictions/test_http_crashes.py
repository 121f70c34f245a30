"""`kill -9` between every two effects of a submission: each that was answered 202 has its one result after a restart."""

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.testing.flights import serve_flights
from penstock.testing.server import ServerProcess

SUBMIT = "/models/flights/predictions"
WAIT = {"prefer": "wait=20"}


def client(server: ServerProcess) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=30)


def submit(http: httpx.Client, key: str) -> str | None:
    """The id that a request with this key is answered with; None if the server died instead."""
    row: dict[str, Any] = {"rows": [{"distance": int(key)}]}
    try:
        answer = http.post(SUBMIT, json=row, headers={"idempotency-key": key})
    except httpx.HTTPError:
        return None
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("point", ["submit.written=kill@5", "submit.answered=kill@5"])
def test_what_was_answered_202_has_its_one_result(tmp_path: Path, point: str) -> None:
    keys = [str(number) for number in range(20)]
    with serve_flights(tmp_path, env={"PENSTOCK_FAILPOINTS": point}) as server:
        with client(server) as http, ThreadPoolExecutor(4) as threads:
            before = dict(zip(keys, threads.map(lambda key: submit(http, key), keys), strict=True))
        assert server.wait() == -signal.SIGKILL
    answered = {key: id for key, id in before.items() if id is not None}
    assert 0 < len(answered) < len(keys)
    with serve_flights(tmp_path) as server, client(server) as http:
        # Whoever got no answer asks again, under the same key, and so do those that did.
        after = {key: submit(http, key) for key in keys}
        assert {key: after[key] for key in answered} == answered
        for key, id in after.items():
            ended = http.get(f"/predictions/{id}", headers=WAIT).json()
            assert ended["state"] == "succeeded", ended
            assert ended["result"]["predictions"][0]["data"]["distance"] == int(key)
        listed = http.get("/predictions?limit=1000").json()["predictions"]
        assert sorted(one["id"] for one in listed) == sorted(str(id) for id in after.values())


def test_what_waits_is_done_by_the_next_process_without_being_asked_for(tmp_path: Path) -> None:
    with serve_flights(tmp_path, env={"PENSTOCK_FAILPOINTS": "submit.written=kill@1"}) as server, client(server) as http:
        assert submit(http, "1") is None
        server.wait()
    with serve_flights(tmp_path) as server, client(server) as http:
        (kept,) = http.get("/predictions").json()["predictions"]
        ended = http.get(kept["links"]["self"], headers=WAIT).json()
        assert ended["state"] == "succeeded"


def test_a_stop_in_order_leaves_nothing_half_done(tmp_path: Path) -> None:
    with serve_flights(tmp_path) as server, client(server) as http:
        ids = [submit(http, str(number)) for number in range(50)]
        assert None not in ids
        following = subprocess.Popen(
            ["curl", "-sN", "-m", "30", f"{server.url}/predictions/{ids[-1]}/events"], stdout=subprocess.PIPE
        )
        assert server.stop() == 0
        assert following.communicate(timeout=30)[0].count(b"event: ") <= 3
    with serve_flights(tmp_path) as server, client(server) as http:
        for id in ids:
            assert http.get(f"/predictions/{id}", headers=WAIT).json()["state"] == "succeeded"
