"""The guard: who, what, how often."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Forbidden, InvalidInput, Overloaded, Unauthenticated
from penstock.serving.security.guard import Guard, Undecided, network_of
from penstock.serving.security.issuer import Issuer
from penstock.serving.security.keys import ApiKeys
from penstock.serving.security.rates import Rates
from penstock.serving.security.tokens import Tokens
from penstock.testing.oidc import AUDIENCE, SigningKeys, sign

KeyFile = Callable[..., tuple[Path, list[bytes]]]
PREDICT: Any = {"model": "flights", "verb": "predict", "peer": "10.0.0.1"}


def test_credentials_scopes_and_their_absence(key_file: KeyFile) -> None:
    path, (mine, all_reader) = key_file("predict:flights", "read:*")
    guard = Guard(keys=ApiKeys(path))
    assert guard.admit({b"authorization": mine}, **PREDICT).name == "key caller-0"
    assert guard.admit({b"authorization": mine.replace(b"Bearer", b"bearer ")}, **PREDICT).name == "key caller-0"
    for value in (b"", b"Bearer", b"Bearer ", b"Basic " + mine[7:], mine[7:], b"Token x"):
        with pytest.raises(Unauthenticated, match="expected Authorization: Bearer"):
            guard.admit({b"authorization": value}, **PREDICT)
    with pytest.raises(Unauthenticated):
        guard.admit({}, **PREDICT)
    with pytest.raises(Forbidden, match="scope predict:flights") as caught:
        guard.admit({b"authorization": all_reader}, **PREDICT)
    assert caught.value.scope == "predict:flights"


def test_a_path_without_a_model_means_the_only_one(key_file: KeyFile) -> None:
    path, (mine,) = key_file("predict:flights,admin:flights")
    headers = {b"authorization": mine}
    models = ["flights"]
    guard = Guard(keys=ApiKeys(path), models=lambda: models)
    assert guard.admit_path("GET", "/predict/7", b"", headers, "") is not None
    assert guard.admit_path("GET", "/healthz", b"", {}, "") is None
    with pytest.raises(Forbidden, match=r"scope admin$"):
        guard.admit_path("POST", "/v2/repository/index", b"", headers, "")
    with pytest.raises(Forbidden, match="scope predict:trains"):
        guard.admit_path("GET", "/predict/7", b"model=trains", headers, "")
    models.append("trains")
    with pytest.raises(Forbidden, match=r"scope predict:\*"):
        guard.admit_path("GET", "/predict/7", b"", headers, "")
    assert guard.admit_path("GET", "/predict/7", b"model=flights", headers, "") is not None
    with pytest.raises(InvalidInput, match="one model"):
        guard.admit_path("GET", "/predict/7", b"model=flights&model=trains", headers, "")
    # The query of a path that names its model says nothing.
    assert guard.admit_hot(b"/models/flights/predict", b"model=trains", headers, "") is not None


def test_who_administrates_is_logged_by_name(key_file: KeyFile, caplog: pytest.LogCaptureFixture) -> None:
    path, (mine,) = key_file("admin")
    caplog.set_level("INFO")
    guard = Guard(keys=ApiKeys(path))
    guard.admit_path("POST", "/v2/repository/models/flights/load", b"", {b"authorization": mine}, "10.0.0.1")
    guard.admit_path("GET", "/v2/models/flights", b"", {b"authorization": mine}, "10.0.0.1")
    (line,) = [vars(record) for record in caplog.records]
    assert (line["msg"], line["caller"], line["peer"], line["model"]) == (
        "admin call admitted",
        "key caller-0",
        "10.0.0.1",
        "flights",
    )


def test_every_request_counts_against_its_callers_rate(key_file: KeyFile) -> None:
    path, (one, two) = key_file("predict:*", "predict:*")
    guard = Guard(keys=ApiKeys(path), rates=Rates("3/minute;100/hour"))
    for _ in range(3):
        guard.admit({b"authorization": one}, **PREDICT)
    with pytest.raises(Overloaded, match="at most 3 per 1 minute") as caught:
        guard.admit({b"authorization": one}, **PREDICT)
    assert 0 < caught.value.retry_after_s <= 60
    guard.admit({b"authorization": two}, **PREDICT)
    assert isinstance(guard.check_hot(b"/models/flights/predict", b"", {}, ""), Unauthenticated)
    assert guard.check_hot(b"/models/flights/predict", b"", {b"authorization": one}, "") is None  # asked, not counted


def test_without_credentials_a_caller_is_its_address() -> None:
    guard = Guard(rates=Rates("1/minute"))
    assert guard.admit({}, **PREDICT).name == "address 10.0.0.1"
    with pytest.raises(Overloaded):
        guard.admit({}, **PREDICT)
    guard.admit({}, **{**PREDICT, "peer": "10.0.0.2"})


@pytest.mark.parametrize(
    "peer, network",
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:2", "2001:db8::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
    ],
)
def test_addresses_that_count_together(peer: str, network: str) -> None:
    assert network_of(peer) == network


@pytest.mark.parametrize("text", ["often", "0", "ten/second", "10/eon"])
def test_a_rate_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InvalidInput, match="rate_limit: expected such as"):
        Rates(text)


def test_keys_and_tokens_side_by_side(key_file: KeyFile) -> None:
    async def body() -> None:
        path, (mine,) = key_file("predict:*")
        signing = SigningKeys()
        url = "https://issuer.example"

        def fetch(address: str) -> bytes:
            import orjson

            return orjson.dumps({"issuer": url, "jwks_uri": f"{url}/keys"} if "well-known" in address else signing.jwks())

        guard = Guard(keys=ApiKeys(path), tokens=Tokens(Issuer(url, fetch=fetch), AUDIENCE))
        token = {b"authorization": b"Bearer " + sign(signing, url, scope="predict:flights").encode()}
        assert guard.admit({b"authorization": mine}, **PREDICT).name == "key caller-0"
        with pytest.raises(Undecided, match="being fetched"):
            guard.admit(token, **PREDICT)
        assert (await guard.admitted(token, **PREDICT)).name == "user alice"
        assert guard.admit(token, **PREDICT).name == "user alice"
        with pytest.raises(Unauthenticated, match="neither an API key nor"):
            await guard.admitted({b"authorization": b"Bearer x"}, **PREDICT)

    asyncio.run(body())
