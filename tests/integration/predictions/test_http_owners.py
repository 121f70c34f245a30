"""Whose predictions are whose, with the real `penstock serve` and API keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.serving.security.keys import new_key
from penstock.serving.security.scopes import read_scope
from penstock.testing.flights import serve_flights

SUBMIT = "/models/flights/predictions"
ROWS = {"rows": [{"distance": 3.5}]}
WAIT = {"prefer": "wait=20"}
SCOPES = {"ann": "predict:flights", "bob": "predict:*", "eve": "read:*", "root": "admin"}


class Callers:
    """A client a key, by its name."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self.http = {
            name: httpx.Client(base_url=url, timeout=30, headers={"authorization": f"Bearer {key}"}) for name, key in keys.items()
        }

    def __getitem__(self, name: str) -> httpx.Client:
        return self.http[name]


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    folder: Path = tmp_path_factory.mktemp("owners")
    made: dict[str, Any] = {name: new_key(name, frozenset({read_scope(scope)})) for name, scope in SCOPES.items()}
    file = folder / "keys"
    file.write_text("".join(f"{key.line()}\n" for _, key in made.values()))
    file.chmod(0o600)
    with serve_flights(folder, "--api_keys", str(file)) as server:
        callers = Callers(server.url, {name: text for name, (text, _) in made.items()})
        yield callers
        for client in callers.http.values():
            client.close()


def test_another_callers_prediction_is_as_unknown_as_none(callers: Callers) -> None:
    document = callers["ann"].post(SUBMIT, json=ROWS, headers=WAIT).json()
    assert document["state"] == "succeeded"
    for link in document["links"].values():
        assert callers["ann"].get(link).status_code == 200
        for name, status in (("bob", 404), ("eve", 404), ("root", 200)):
            assert callers[name].get(link).status_code == status, (name, link)
    cancel = f"{document['links']['self']}/cancel"
    assert callers["bob"].post(cancel).status_code == 404
    assert httpx.get(str(callers["ann"].base_url.join(document["links"]["self"]))).status_code == 401


def test_lists_show_ones_own(callers: Callers) -> None:
    mine = callers["bob"].post(SUBMIT, json=ROWS, headers=WAIT).json()["id"]
    listed = {name: [one["id"] for one in callers[name].get("/predictions").json()["predictions"]] for name in SCOPES}
    assert listed["bob"] == [mine]
    assert mine not in listed["ann"]
    assert listed["eve"] == []
    assert listed["root"][0] == mine


def test_keys_are_each_callers_own(callers: Callers) -> None:
    key = {"idempotency-key": "same"}
    first, second = (callers[name].post(SUBMIT, json=ROWS, headers=key) for name in ("ann", "bob"))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] != second.json()["id"]
    assert callers["ann"].post(SUBMIT, json=ROWS, headers=key).json()["id"] == first.json()["id"]


def test_submitting_needs_the_models_scope(callers: Callers) -> None:
    assert callers["eve"].post(SUBMIT, json=ROWS).status_code == 403
    assert (
        callers["ann"].post("/models/pictures/predictions", content=b"x", headers={"content-type": "image/png"}).status_code
        == 403
    )
    assert callers["eve"].post("/models/flights/predict", json=ROWS, headers={"prefer": "respond-async"}).status_code == 403
