"""One attempt against real servers: what is sent and signed, whom it is sent to, and every way an answer can fail to come."""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.testing.certificates import Authority
from penstock_transformer.predictions.addresses import Address
from penstock_transformer.predictions.webhook_machine import Answer, Failure, Result
from penstock_transformer.predictions.webhook_port import Webhook
from penstock_transformer.predictions.webhook_sending import Sender
from penstock_transformer.predictions.webhook_settings import WebhookSettings
from penstock_transformer.predictions.webhook_target import Policy

KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
BODY = json.dumps({"type": "prediction.succeeded"}).encode()


def webhook(url: str) -> Webhook:
    return Webhook("msg_1", "1", url, "host", BODY, 1, "lease")


class Names:
    """A name server of the test's own: each look-up takes the next answer, the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ipaddress.ip_address(text) for text in answer]


async def sent(url: str, settings: WebhookSettings, names: Names | None = None) -> Result:
    return await Sender(settings, Policy(settings, names)).send(webhook(url))


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await case()

    asyncio.run(bounded())


def test_what_is_sent_is_signed_over_its_own_bytes(receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with receiver().serve() as there:
            assert await sent(f"http://127.0.0.1:{there.port}/hook?a=1", allowed()) == Answer(204)
        (request,) = there.requests
        assert request.line == "POST /hook?a=1 HTTP/1.1"
        assert request.body == BODY
        headers = request.headers
        assert (headers["host"], headers["content-type"]) == (f"127.0.0.1:{there.port}", "application/json")
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
        expected = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"

    run(case)


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def drip(writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 900:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(
    "answer, result",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Answer(200)),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", Answer(500)),
        (b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Answer(503, 7.0)),
        (b"HTTP/1.1 429 No\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n", Answer(429)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut", Failure("RemoteProtocolError")),
        (b"HTTP/1.1 200 OK\r\n", Failure("RemoteProtocolError")),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Failure("RemoteProtocolError")),
        (b"", Failure("RemoteProtocolError")),
        (reset, Failure("ReadError")),
        (hang, Failure("no whole answer within 0.7 s")),
        (drip, Failure("no whole answer within 0.7 s")),
        (flood, Answer(200)),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnot!", Answer(200)),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n", Failure("RemoteProtocolError")),
    ],
)
def test_only_a_whole_answer_within_its_time_counts(receiver: Any, allowed: Any, answer: Any, result: Result) -> None:
    timeout_s = 0.7 if "0.7" in str(result) else 30.0

    async def case() -> None:
        async with receiver([answer]).serve() as there:
            assert await sent(f"http://127.0.0.1:{there.port}/", allowed(webhook_timeout_s=timeout_s)) == result

    run(case)


def test_redirects_are_not_followed_wherever_they_lead(receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with receiver().serve() as other:
            moved = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n".encode()
            async with receiver([moved]).serve() as there:
                assert await sent(f"http://127.0.0.1:{there.port}/", allowed()) == Answer(307)
        assert other.requests == []

    run(case)


def test_private_addresses_are_not_connected_to(receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with receiver().serve() as there:
            closed = allowed(webhook_networks=())
            for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"):
                result = await sent(f"http://{host}:{there.port}/", closed)
                assert isinstance(result, Failure)
                assert "public address" in result.reason
        assert there.requests == []

    run(case)


def test_a_name_is_looked_up_once_and_that_very_address_is_used(receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with receiver().serve() as there:
            # Whoever looked twice would get another answer the second time.
            names = Names(["127.0.0.1"], ["127.9.9.9"])
            assert await sent(f"http://rebinding.example:{there.port}/", allowed(), names) == Answer(204)
            assert names.asked == ["rebinding.example"]
            assert there.requests[0].headers["host"] == f"rebinding.example:{there.port}"
            mixed = Names(["127.0.0.1", "10.0.0.1"])
            result = await sent(f"http://mixed.example:{there.port}/", allowed(), mixed)
            assert isinstance(result, Failure)
        assert len(there.requests) == 1

    run(case)


def test_the_next_address_is_tried_where_nobody_listens(receiver: Any, allowed: Any) -> None:
    async def case() -> None:
        async with receiver().serve() as there:
            names = Names(["127.0.0.2", "127.0.0.1"])
            assert await sent(f"http://two.example:{there.port}/", allowed(), names) == Answer(204)
        assert len(there.requests) == 1

    run(case)


def test_proxies_of_the_environment_are_not_used(receiver: Any, allowed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def case() -> None:
        async with receiver().serve() as proxy, receiver().serve() as there:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            assert await sent(f"http://127.0.0.1:{there.port}/", allowed()) == Answer(204)
        assert proxy.requests == []

    run(case)


def server_tls(folder: Path, host: str | None, authority: Authority) -> ssl.SSLContext:
    pair = authority.issue(folder, "server", host)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    return context


@pytest.mark.parametrize("certified, reached", [("hooks.example", True), ("other.example", False)])
def test_tls_is_checked_against_the_name_though_the_address_is_used(
    receiver: Any, allowed: Any, tmp_path: Path, certified: str, reached: bool
) -> None:
    authority = Authority("one")
    secure = allowed(webhook_http=False, webhook_ca=authority.write(tmp_path / "ca.pem"))

    async def case() -> None:
        async with receiver().serve(server_tls(tmp_path, certified, authority)) as there:
            result = await sent(f"https://hooks.example:{there.port}/", secure, Names(["127.0.0.1"]))
            assert result == (Answer(204) if reached else Failure("ConnectError"))
        assert len(there.requests) == reached

    run(case)


def test_a_certificate_of_an_unknown_authority_is_not_believed(receiver: Any, allowed: Any, tmp_path: Path) -> None:
    async def case() -> None:
        async with receiver().serve(server_tls(tmp_path, None, Authority("unknown"))) as there:
            secure = allowed(webhook_ca=Authority("one").write(tmp_path / "ca.pem"))
            assert await sent(f"https://127.0.0.1:{there.port}/", secure) == Failure("ConnectError")
        assert there.requests == []

    run(case)
