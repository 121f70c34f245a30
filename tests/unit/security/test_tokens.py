"""JSON Web Tokens: every known way of forging one, and the keys' life. The issuer is a function here."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from penstock.errors import InvalidInput, PenstockError, Unauthenticated, UpstreamUnavailable
from penstock.serving.security import issuer as issuers
from penstock.serving.security.issuer import Fetching, Issuer, check_address, usable_keys
from penstock.serving.security.scopes import Caller
from penstock.serving.security.tokens import Tokens
from penstock.testing.oidc import AUDIENCE, SigningKeys, sign

URL = "https://issuer.example"


class Web:
    """What the issuer answers, how often it was asked, and a clock for both."""

    def __init__(self) -> None:
        self.keys = SigningKeys()
        self.asked = 0
        self.failing = False
        self.discovery: Any = {"issuer": URL, "jwks_uri": f"{URL}/keys"}
        self.now = 1000.0
        self.issuer = Issuer(URL, fetch=self.fetch, clock=lambda: self.now)
        self.tokens = Tokens(self.issuer, AUDIENCE)

    def fetch(self, url: str) -> bytes:
        self.asked += 1
        if self.failing:
            raise OSError("no route")
        return json.dumps(self.discovery if "well-known" in url else self.keys.jwks()).encode()

    async def check(self, token: str) -> Caller:
        """As the guard does: wait for keys once."""
        try:
            return self.tokens.check(token.encode())
        except Fetching as fetching:
            await fetching.done
        return self.tokens.check(token.encode())

    async def refused(self, token: str) -> str:
        with pytest.raises(PenstockError) as caught:
            await self.check(token)
        return caught.value.message

    def sign(self, kid: str | None = None, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        return sign(self.keys, URL, kid, headers, **claims)


def run(body: Callable[[Web], Awaitable[None]]) -> None:
    async def whole() -> None:
        await body(Web())

    asyncio.run(whole())


def test_a_good_token_is_its_caller() -> None:
    async def body(web: Web) -> None:
        caller = await web.check(web.sign(scope="openid predict:flights read:*"))
        assert caller.name == "user alice"
        assert caller.may("predict", "flights")
        assert not caller.may("predict", "trains")
        assert (await web.check(web.sign(scope=["admin"]))).name == "user alice"
        assert not (await web.check(web.sign())).scopes
        web.keys.rotate(keep=True, curve=True)
        web.now += issuers.RETRY_S
        assert (await web.check(web.sign(aud=["other", AUDIENCE]))).name == "user alice"

    run(body)


@pytest.mark.parametrize(
    "claims, reason",
    [
        ({"aud": "another"}, "another audience"),
        ({"aud": None}, "lacks one of"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"exp": None}, "lacks one of"),
        ({"sub": None}, "lacks one of"),
        ({"nbf": int(time.time()) + 86400}, "not valid yet"),
        ({"exp": "soon"}, "cannot be verified"),
    ],
)
def test_claims_that_are_wrong(claims: dict[str, Any], reason: str) -> None:
    async def body(web: Web) -> None:
        assert reason in await web.refused(web.sign(**claims))

    run(body)


def test_clocks_may_be_apart_by_the_leeway() -> None:
    async def body(web: Web) -> None:
        assert (await web.check(web.sign(exp=int(time.time()) - 10, nbf=int(time.time()) + 10))).name == "user alice"

    run(body)


def _forged(header: dict[str, Any], payload: dict[str, Any], signature: Callable[[bytes], bytes]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, payload)]
    signed = b".".join(parts)
    return (signed + b"." + base64.urlsafe_b64encode(signature(signed)).rstrip(b"=")).decode()


def test_forgeries() -> None:
    async def body(web: Web) -> None:
        good = web.sign(scope="admin")
        await web.check(good)
        payload = jwt.decode(good, options={"verify_signature": False})
        public = web.keys.private().public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        kid = web.keys.newest
        for algorithm in ("none", "None", "NONE", "", None):
            assert "algorithm" in await web.refused(_forged({"alg": algorithm, "kid": kid}, payload, lambda _: b""))
        for secret in (pem, pem.strip(), json.dumps(web.keys.jwks()["keys"][0]).encode()):
            token = _forged({"alg": "HS256", "kid": kid}, payload, lambda signed, key=secret: hmac.digest(key, signed, "sha256"))  # type: ignore[misc]
            assert "algorithm" in await web.refused(token)
        stranger = SigningKeys()
        assert "signature is wrong" in await web.refused(
            jwt.encode(payload, stranger.private(), algorithm="RS256", headers={"kid": kid})
        )
        assert "not one of the issuer's" in await web.refused(
            jwt.encode(payload, web.keys.private(), algorithm="PS256", headers={"kid": kid})
        )
        own = stranger.jwks()["keys"][0]
        for headers in ({"jwk": own, "kid": own["kid"]}, {"jku": "https://evil.example/keys", "kid": own["kid"]}):
            token = jwt.encode(payload, stranger.private(), algorithm="RS256", headers=headers)
            assert "not one of the issuer's" in await web.refused(token)
        await web.refused(web.sign(headers={"crit": ["x"], "x": 1}))
        head, middle, tail = good.split(".")
        for broken in (f"{head}.{middle}", f"{head}.{middle}.", f"{head}.{middle}.{tail[:-4]}AAAA", "a.b.c", "..", "x" * 20_000):
            await web.refused(broken)
        with pytest.raises(Unauthenticated):
            web.tokens.check(b"\xff\xfe.\x00.\x00")

    run(body)


def test_a_rotated_key_is_fetched_and_the_old_one_stops() -> None:
    async def body(web: Web) -> None:
        old = web.sign()
        await web.check(old)
        web.keys.rotate()
        web.now += issuers.RETRY_S
        assert (await web.check(web.sign())).name == "user alice"
        assert "not one of the issuer's" in await web.refused(old)

    run(body)


def test_a_flood_of_unknown_keys_asks_the_issuer_once() -> None:
    async def body(web: Web) -> None:
        await web.check(web.sign())
        asked = web.asked
        for number in range(200):
            await web.refused(web.sign(headers={"kid": f"flood-{number}"}))
        assert web.asked == asked
        web.now += issuers.RETRY_S
        answers = await asyncio.gather(*(web.refused(web.sign(headers={"kid": f"more-{number}"})) for number in range(50)))
        assert len(set(answers)) == 1
        assert web.asked == asked + 2  # discovery and keys, once

    run(body)


def test_an_issuer_that_is_away() -> None:
    async def body(web: Web) -> None:
        web.failing = True
        assert "cannot be reached" in await web.refused(web.sign())
        with pytest.raises(UpstreamUnavailable):
            web.tokens.check(web.sign().encode())
        assert web.asked == 1
        web.failing = False
        web.now += issuers.RETRY_S
        token = web.sign()
        await web.check(token)
        web.failing = True
        web.now += issuers.REFRESH_S + 1
        fresh = web.sign(jti="fresh")
        assert (await web.check(fresh)).name == "user alice"  # the keys of before are still believed
        if web.issuer._fetching is not None:
            await web.issuer._fetching
        web.now += issuers.STALE_S
        assert "cannot be reached" in await web.refused(web.sign(jti="stale"))

    run(body)


@pytest.mark.parametrize(
    "document", [{"issuer": "https://evil.example", "jwks_uri": f"{URL}/keys"}, {"issuer": URL}, [], "x",
                 {"issuer": URL, "jwks_uri": "http://evil.example/keys"}, {"issuer": URL, "jwks_uri": "file:///etc/passwd"}]
)  # fmt: skip
def test_discovery_that_is_not_this_issuers(document: Any) -> None:
    async def body(web: Web) -> None:
        web.discovery = document
        assert "cannot be reached" in await web.refused(web.sign())

    run(body)


def test_a_checked_token_is_remembered_until_it_expires() -> None:
    async def body(web: Web) -> None:
        now = time.time()
        web.tokens = Tokens(web.issuer, AUDIENCE, leeway_s=0.0, clock=lambda: now)
        token = web.sign(exp=int(now) + 1)
        await web.check(token)
        web.keys._keys.clear()
        assert web.tokens.check(token.encode()).name == "user alice"
        now += 5
        web.tokens._jwt = None  # type: ignore[assignment]  # what is expired is looked at anew
        with pytest.raises(AttributeError):
            web.tokens.check(token.encode())

    run(body)


def test_a_remembered_token_ends_with_its_key_though_no_other_token_comes() -> None:
    async def body(web: Web) -> None:
        token = web.sign()
        await web.check(token)
        web.keys.rotate()
        web.now += issuers.REFRESH_S + 1
        await web.check(token)  # the keys of before still hold, and are asked for anew behind this
        while web.issuer._fetching is not None:
            await asyncio.wait([web.issuer._fetching])
        assert "not one of the issuer's" in await web.refused(token)

    run(body)


def test_a_remembered_token_is_not_believed_once_the_keys_are_stale() -> None:
    async def body(web: Web) -> None:
        token = web.sign()
        await web.check(token)
        web.failing = True
        web.now += issuers.STALE_S + 1
        assert "cannot be reached" in await web.refused(token)

    run(body)


def test_only_keys_that_can_check_signatures_are_kept() -> None:
    good = SigningKeys().jwks()["keys"][0]
    shared = {"kty": "oct", "kid": "s", "k": "c2VjcmV0"}
    entries = [
        good,
        shared,
        {**shared, "alg": "RS256"},
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "hs", "alg": "HS256"},
        {**good, "kid": "short", "n": base64.urlsafe_b64encode(b"\xc1" * 64).decode()},
        {**good, "kid": 7},
        {"kty": "EC", "kid": "ec", "crv": "P-999", "x": "AA", "y": "AA"},
        {"kid": "none"},
        "text",
    ]
    assert set(usable_keys(entries)) == {good["kid"]}
    assert usable_keys(None) == {}


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "ftp://x", "", "https://", "http://127.0.0.1.evil.example", "file:///x"]
)
def test_an_issuer_must_be_reached_safely(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_address(url, "oidc_issuer")


@pytest.mark.parametrize(
    "url", ["https://issuer.example/realms/x", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"]
)
def test_addresses_that_are_safe(url: str) -> None:
    check_address(url, "oidc_issuer")
