"""Transformers that share a PostgreSQL: what one takes another shows, what one dies of another does, what is away says so."""

import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from penstock.testing.flights import write_flights, write_store
from penstock.testing.server import ServerProcess
from penstock.testing.servers import PostgresServer
from penstock.testing.waiting import until

SUBMIT = "/models/flights/predictions"
WAIT = {"prefer": "wait=30"}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("shared")
    write_flights(folder / "flights")
    given = ["--model_name", "flights", "--model_dir", str(folder / "flights"), "--profile_s", "0", "--drain_delay_s", "0"]
    with ServerProcess("penstock_predictor", *given) as server:
        yield server


def transformer(predictor: ServerProcess, database: str, folder: Path, *options: str) -> ServerProcess:
    store = folder / "online.db"
    url = f"sqlite:///{store}" if store.exists() else write_store(store)
    given = ["--model_name", "flights", "--predictor_host", f"127.0.0.1:{predictor.port}", "--feature_store", url]
    env = {"PENSTOCK_TRANSFORMER_DATABASE": database}
    return ServerProcess("penstock_transformer", *given, "--drain_delay_s", "0", *options, env=env)


def row(number: int) -> dict[str, list[dict[str, int]]]:
    return {"rows": [{"distance": number}]}


def test_one_takes_another_shows_and_what_one_dies_of_another_does(
    predictor: ServerProcess, own_schema: str, tmp_path: Path
) -> None:
    with transformer(predictor, own_schema, tmp_path) as first, transformer(predictor, own_schema, tmp_path) as second:  # noqa: SIM117
        with httpx.Client(base_url=first.url, timeout=40) as one, httpx.Client(base_url=second.url, timeout=40) as other:
            id = one.post(SUBMIT, json=row(1)).json()["id"]
            assert other.get(f"/predictions/{id}", headers=WAIT).json()["state"] == "succeeded"
            assert other.get(f"/predictions/{id}/events").text.startswith("id: 3\nevent: succeeded\n")
            predictor.signal(signal.SIGSTOP)
            try:
                answers = [(one, other)[n % 2].post(SUBMIT, json=row(n), headers={"idempotency-key": f"k{n}"}) for n in range(20)]
                ids = [answer.json()["id"] for answer in answers]
                first.signal(signal.SIGKILL)
                first.wait()
            finally:
                predictor.signal(signal.SIGCONT)
            again = [other.post(SUBMIT, json=row(n), headers={"idempotency-key": f"k{n}"}).json()["id"] for n in range(20)]
            assert again == ids
            for number, id in enumerate(ids):
                ended = other.get(f"/predictions/{id}", headers=WAIT).json()
                assert ended["state"] == "succeeded", ended
                assert ended["result"]["predictions"][0]["data"]["distance"] == number


def test_workers_of_one_program_share_the_queue(predictor: ServerProcess, own_schema: str, tmp_path: Path) -> None:
    with transformer(predictor, own_schema, tmp_path, "--workers", "2") as server:
        with httpx.Client(base_url=server.url, timeout=40) as http:
            ids = [http.post(SUBMIT, json=row(n)).json()["id"] for n in range(20)]
        for id in ids:
            # Each on a connection of its own, and so at either worker.
            assert httpx.get(f"{server.url}/predictions/{id}", headers=WAIT, timeout=40).json()["state"] == "succeeded"


def test_a_database_that_stands_still_is_429_then_503_and_comes_back(
    predictor: ServerProcess, postgres: PostgresServer, own_schema: str, tmp_path: Path
) -> None:
    with transformer(predictor, own_schema, tmp_path, "--async_submits", "2") as server:  # noqa: SIM117
        with httpx.Client(base_url=server.url, timeout=60) as http:
            assert http.post(SUBMIT, json=row(1), headers=WAIT).status_code == 200
            postgres.pause()
            try:
                with ThreadPoolExecutor(8) as threads:
                    answers = list(threads.map(lambda number: submit(http, number), range(8)))
                refused = [answer for answer in answers if answer.status_code == 429]
                assert len(refused) >= 4
                assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
                assert {answer.status_code for answer in answers} == {429, 503}
                assert http.post("/models/flights/predict", json=row(1)).status_code == 200
            finally:
                postgres.resume()
            for number in range(8):
                until(lambda number=number: submitted(http, number), 40)
            found = http.get("/predictions?limit=100").json()["predictions"]
            assert len({one["idempotency_key"] for one in found if one.get("idempotency_key", "").startswith("p")}) == 8
            assert sum(one.get("idempotency_key", "").startswith("p") for one in found) == 8


def submit(http: httpx.Client, number: int) -> httpx.Response:
    return http.post(SUBMIT, json=row(number), headers={"idempotency-key": f"p{number}"})


def submitted(http: httpx.Client, number: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return submit(http, number).status_code == 202
    return False
