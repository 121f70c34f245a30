"""Keys, tokens, rates and pages against a running program: HTTP below and above the framework, gRPC, WebSocket, admin port."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import grpc
import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_websocket

from penstock.serving.security.issuer import RETRY_S
from penstock.testing.oidc import AUDIENCE, OidcProvider
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until

ECHO = "penstock.testing.echo_server"
DOCUMENT = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
INFER = "/v2/models/echo/infer"
SERVICE = "/inference.GRPCInferenceService/"


class Web:
    """One client for all tests: making one takes as long as a hundred requests. It keeps no connection."""

    client: httpx.Client


@pytest.fixture(scope="module", autouse=True)
def _web() -> Iterator[None]:
    with httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=20) as Web.client:
        yield


def echo(*options: str, grpc: bool = False) -> ServerProcess:
    return ServerProcess(ECHO, "--drain_delay_s", "0", *options, grpc=grpc)


def infer(server: ServerProcess, headers: dict[str, str]) -> httpx.Response:
    return Web.client.post(server.url + INFER, json=DOCUMENT, headers=headers)


def call(server: ServerProcess, name: str, headers: dict[str, str], message: bytes = b"") -> grpc.StatusCode:
    with grpc.insecure_channel(server.grpc_address) as channel:
        made: Any = channel.unary_unary(SERVICE + name)
        try:
            made(message, metadata=list(headers.items()), timeout=10)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return grpc.StatusCode.OK


# --- API keys


def test_a_refusal_says_what_is_asked_for(keys: Any) -> None:
    with echo("--api_keys", str(keys.path)) as server:
        nobody = infer(server, {})
        assert nobody.status_code == 401
        assert nobody.headers["www-authenticate"] == 'Bearer realm="penstock"'
        assert nobody.json() == {"error": "Authorization: expected Authorization: Bearer with an API key or a token"}
        another = infer(server, keys.headers("other"))
        assert another.status_code == 403
        assert another.headers["www-authenticate"] == 'Bearer realm="penstock", error="insufficient_scope", scope="predict:echo"'
        assert another.json() == {"error": "expected a caller with scope predict:echo"}
        problem = Web.client.get(f"{server.url}/docs")
        assert (problem.status_code, problem.headers["content-type"]) == (401, "application/problem+json")
        assert problem.json()["kind"] == "unauthenticated"
        assert all(answer.headers["x-request-id"] for answer in (nobody, another, problem))
        assert infer(server, keys.headers("echo")).status_code == 200
        assert Web.client.head(f"{server.url}/docs").content == b""
        mine = {"authorization": keys.headers("echo")["authorization"], "Authorization": "Bearer x"}
        with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as raw:
            raw.putrequest("POST", INFER)
            for value in mine.values():  # two of them
                raw.putheader("authorization", value)
            raw.putheader("content-length", "0")
            raw.endheaders()
            assert raw.getresponse().status == 401


def test_a_large_body_of_a_stranger_is_not_read(keys: Any) -> None:
    with echo("--api_keys", str(keys.path)) as server, closing(http.client.HTTPConnection("127.0.0.1", server.port)) as raw:
        raw.putrequest("POST", INFER)
        raw.putheader("content-length", "50000000")
        raw.endheaders()
        answer = raw.getresponse()  # before a byte of the body was sent
        assert (answer.status, answer.getheader("connection")) == (401, "close")


def test_a_key_that_is_taken_away_stops_on_an_open_connection(keys: Any) -> None:
    body = json.dumps(DOCUMENT)
    with (
        echo("--api_keys", str(keys.path)) as server,
        closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection,
    ):

        def ask() -> int:
            connection.request("POST", INFER, body, keys.headers("echo"))
            with connection.getresponse() as answer:
                answer.read()
                return answer.status

        # The same bytes again and again: after the first, this head is not parsed any more.
        assert [ask() for _ in range(3)] == [200] * 3
        keys.path.write_text("# nobody\n")
        until(lambda: ask() == 401)


def test_grpc_is_held_by_the_same_keys(keys: Any) -> None:
    codes = grpc.StatusCode
    metadata_request = b"\x0a\x04echo"
    with echo("--api_keys", str(keys.path), grpc=True) as server:
        for name in ("ServerLive", "ServerReady"):
            assert call(server, name, {}) is codes.OK
        for name in ("ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer"):
            assert call(server, name, {}, metadata_request) is codes.UNAUTHENTICATED
            assert call(server, name, {"authorization": "Bearer x"}, metadata_request) is codes.UNAUTHENTICATED
        for name in ("ModelReady", "ModelMetadata", "ModelInfer"):
            assert call(server, name, keys.headers("other"), metadata_request) is codes.PERMISSION_DENIED
        assert call(server, "ModelMetadata", keys.headers("echo"), metadata_request) is codes.OK
        assert call(server, "ModelInfer", keys.headers("echo"), metadata_request) is codes.INVALID_ARGUMENT  # admitted


def test_websockets_are_held_by_the_same_keys(keys: Any) -> None:
    message = json.dumps({"id": "1", **DOCUMENT})
    with echo("--api_keys", str(keys.path)) as server:
        url = f"ws://127.0.0.1:{server.port}/v2/models/echo/stream"
        for headers, status in (({}, 401), (keys.headers("other"), 403)):
            with pytest.raises(InvalidStatus) as caught, connect_websocket(url, additional_headers=headers):
                raise AssertionError("opened")
            assert caught.value.response.status_code == status
        offered: Any = ["penstock.stream", f"penstock.bearer.{keys.by_name['echo']}"]
        with connect_websocket(url, subprotocols=offered) as browser:
            assert browser.subprotocol == "penstock.stream"
        with connect_websocket(url, additional_headers=keys.headers("echo")) as stream:
            assert "credit" in json.loads(stream.recv())
            stream.send(message)
            assert json.loads(stream.recv())["id"] == "1"
            keys.path.write_text("# nobody\n")
            number = 1

            def refused() -> bool:
                nonlocal number
                number += 1
                stream.send(json.dumps({"id": str(number), **DOCUMENT}))
                while "credit" in (answer := json.loads(stream.recv())):
                    pass
                return bool(answer.get("status") == 401)

            until(refused)


def test_a_foreign_page_opens_no_websocket() -> None:
    with echo("--cors_origins", "https://good.example") as server:
        url = f"ws://127.0.0.1:{server.port}/v2/models/echo/stream"
        evil: Any = "https://evil.example"
        with pytest.raises(InvalidStatus) as caught, connect_websocket(url, origin=evil):
            raise AssertionError("opened")
        assert caught.value.response.status_code == 403
        origins: list[Any] = ["https://good.example", f"http://127.0.0.1:{server.port}", None]
        for origin in origins:
            with connect_websocket(url, origin=origin) as stream:
                assert "credit" in json.loads(stream.recv())


def test_the_admin_port_asks_for_scope_admin(keys: Any) -> None:
    with echo("--api_keys", str(keys.path), "--workers", "2") as server:
        url = f"{server.admin_url}/echo/models/echo"
        assert Web.client.post(url).status_code == 401
        assert Web.client.post(url, headers=keys.headers("echo")).status_code == 403
        assert Web.client.post(url, headers=keys.headers("root")).status_code == 200
        assert Web.client.get(f"{server.admin_url}/status").status_code == 401
        for path in ("/metrics", "/healthz", "/readyz"):
            assert Web.client.get(server.admin_url + path).status_code == 200
    with echo("--api_keys", str(keys.path), "--admin_guard", "false") as server:
        assert Web.client.post(f"{server.admin_url}/echo/models/echo").status_code == 200


# --- tokens


def test_tokens_of_an_issuer(provider: OidcProvider, keys: Any) -> None:
    options = ("--oidc_issuer", provider.url, "--oidc_audience", AUDIENCE, "--api_keys", str(keys.path))

    def token(**claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {provider.token(**claims)}"}

    with echo(*options, grpc=True) as server:
        assert infer(server, token(scope="predict:echo")).status_code == 200
        assert infer(server, token(scope="predict:other")).status_code == 403
        assert infer(server, token(aud="another")).status_code == 401
        assert infer(server, token(exp=int(time.time()) - 60)).status_code == 401
        assert infer(server, keys.headers("echo")).status_code == 200
        assert call(server, "ServerMetadata", token(scope="read:*")) is grpc.StatusCode.OK
        assert provider.asked == 1
        began = time.monotonic()
        for number in range(30):
            assert infer(server, token(headers={"kid": f"flood-{number}"})).status_code == 401
        assert provider.asked <= 2 + (time.monotonic() - began) / RETRY_S


def test_a_rotated_key_is_waited_for_by_the_request_that_brings_it(provider: OidcProvider) -> None:
    provider.broken = True  # at the start, so that the first token finds no keys
    options = ("--oidc_issuer", provider.url, "--oidc_audience", AUDIENCE)
    with echo(*options) as server:
        away = infer(server, {"authorization": f"Bearer {provider.token(scope='predict:echo')}"})
        assert away.status_code == 503
        assert int(away.headers["retry-after"]) >= 1
    provider.broken = False
    with echo(*options) as server:
        old = {"authorization": f"Bearer {provider.token(scope='predict:echo')}"}
        assert infer(server, old).status_code == 200
        provider.keys.rotate()
        new = {"authorization": f"Bearer {provider.token(scope='predict:echo')}"}
        # Asked again at most every RETRY_S; the request that then finds the key missing waits for it, hot route or not.
        until(lambda: infer(server, new).status_code == 200)
        assert Web.client.get(f"{server.url}/v2/models/echo", headers=new).status_code == 200
        assert infer(server, {"authorization": f"Bearer {provider.token(scope='predict:echo', iss='x')}"}).status_code == 401


# --- rates, pages


def test_a_caller_has_a_rate_and_others_are_untouched(keys: Any) -> None:
    with echo("--api_keys", str(keys.path), "--rate_limit", "5/minute", grpc=True) as server:
        answers = [infer(server, keys.headers("echo")) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert 0 < int(answers[-1].headers["retry-after"]) <= 60
        assert call(server, "ServerMetadata", keys.headers("echo")) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert Web.client.get(f"{server.url}/v2", headers=keys.headers("echo")).status_code == 429
        assert infer(server, keys.headers("root")).status_code == 200
        assert [Web.client.get(f"{server.url}/healthz").status_code for _ in range(10)] == [200] * 10


def test_a_rate_without_keys_is_one_of_addresses() -> None:
    with echo("--rate_limit", "3/hour") as server:
        assert [infer(server, {}).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_pages_are_answered_alike_by_every_route(keys: Any) -> None:
    good = {"origin": "https://good.example"}
    with echo("--cors_origins", "https://good.example", "--api_keys", str(keys.path)) as server:
        for path in (INFER, "/v1/models/echo:predict", "/v2/models/echo", "/records"):
            ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type"}
            preflight = Web.client.options(server.url + path, headers={**good, **ask})
            assert preflight.status_code == 200
            assert preflight.headers["access-control-allow-origin"] == "https://good.example"
            assert "Authorization" in preflight.headers["access-control-allow-headers"]
            assert Web.client.options(server.url + path, headers={**ask, "origin": "https://evil.example"}).status_code == 400
        mine = keys.headers("echo")
        for headers, status in (({**mine, **good}, 200), (good, 401), ({**keys.headers("other"), **good}, 403)):
            for answer in (infer(server, headers), Web.client.get(f"{server.url}/v2/models/echo", headers=headers)):
                assert answer.status_code == status
                assert answer.headers["access-control-allow-origin"] == "https://good.example"
                assert answer.headers["vary"] == "Origin"
                assert "Retry-After" in answer.headers["access-control-expose-headers"]
        for headers in (mine, {**mine, "origin": "https://evil.example"}):
            assert "access-control-allow-origin" not in infer(server, headers).headers
        big = Web.client.post(server.url + INFER, content=b"x" * 100_000, headers=good)
        assert (big.status_code, big.headers["access-control-allow-origin"]) == (401, "https://good.example")


@pytest.mark.parametrize(
    "options, words",
    [
        (("--api_keys", "/nowhere"), "api_keys: cannot read"),
        (("--oidc_issuer", "https://x"), "oidc_audience: expected"),
        (("--oidc_audience", "x"), "expected --oidc_issuer beside it"),
        (("--oidc_issuer", "http://issuer.example", "--oidc_audience", "x"), "expected an https:// address"),
        (("--rate_limit", "often"), "rate_limit: expected such as"),
        (("--cors_origins", "good.example"), "cors_origins: expected https://host"),
    ],
)
def test_settings_that_cannot_work_end_the_program_with_a_line(options: tuple[str, ...], words: str) -> None:
    server = ServerProcess(ECHO, *options).start()
    assert server.wait() == 1
    assert words in server.wait_event("cannot start", 1)["reason"]
