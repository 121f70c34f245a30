"""The whole way with `penstock serve`: a request that names a webhook, the prediction made, the receiver told."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from penstock.testing.flights import serve_flights

SECRET = {"PENSTOCK_SERVE_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
SUBMIT = "/models/flights/predictions"
ROWS = {"rows": [{"distance": 3.5, "carrier": "UA"}]}
OPEN = ("--webhook_http", "true", "--webhook_networks", "127.0.0.0/8", "--webhook_ports", "0")


def test_a_receiver_is_told_of_the_prediction_that_was_asked_for(receiver: Any, tmp_path: Path) -> None:
    async def case(server: Any) -> None:
        async with receiver().serve() as there, httpx.AsyncClient(base_url=server.url) as http:
            where = {"penstock-webhook": f"http://127.0.0.1:{there.port}/done"}
            answer = await http.post(SUBMIT, json=ROWS, headers=where)
            assert answer.status_code == 202, answer.text
            (request,) = await there.until(1)
            told = json.loads(request.body)
            assert request.headers["webhook-id"] == f"msg_{answer.json()['id']}"
            assert (told["type"], told["data"]["state"]) == ("prediction.succeeded", "succeeded")
            shown = await http.get(told["data"]["links"]["self"])
            assert shown.json()["result"]["predictions"]
            assert "result" not in told["data"]
            large = await http.post(SUBMIT, json={"rows": ROWS["rows"] * 50}, headers=where)
            assert large.status_code == 202, large.text
            await there.until(2)
            async with asyncio.timeout(30):
                while 'outcome="delivered"} 2.0' not in (await http.get("/metrics")).text:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            kept = list((tmp_path / ".penstock").glob("predictions.db.objects/input/*/*"))
            assert len(kept) == 1

    with serve_flights(tmp_path, *OPEN, "--inline_bytes", "1000", env=SECRET) as server:
        asyncio.run(case(server))


def test_a_webhook_that_is_not_sent_is_refused_at_submission(tmp_path: Path) -> None:
    with serve_flights(tmp_path, env=SECRET) as server, httpx.Client(base_url=server.url) as http:
        for url, part in (
            ("http://example.com/", "https://"),
            ("https://127.0.0.1/", "public address"),
            ("https://[::ffff:169.254.169.254]/", "metadata"),
            ("https://localhost/", "public address"),
            ("https://example.com:22/", "ports"),
            ("nonsense", "https://HOST"),
        ):
            answer = http.post(SUBMIT, json=ROWS, headers={"penstock-webhook": url})
            assert answer.status_code == 400, url
            problem = answer.json()
            assert (problem["field"], part in answer.text) == ("webhook", True), answer.text
        assert http.get("/predictions").json()["predictions"] == []


def test_without_a_secret_the_answer_says_what_is_missing(tmp_path: Path) -> None:
    with serve_flights(tmp_path) as server:
        answer = httpx.post(f"{server.url}{SUBMIT}", json=ROWS, headers={"penstock-webhook": "https://example.com/"})
    assert answer.status_code == 400
    assert "--webhook_secret" in answer.text
