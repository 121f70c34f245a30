"""Webhook URLs: what is read, what is refused, and that every address of a name is looked at."""

import asyncio
import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput, UpstreamUnavailable
from penstock_transformer.predictions import webhook_target
from penstock_transformer.predictions.addresses import Address
from penstock_transformer.predictions.webhook_settings import WebhookSettings
from penstock_transformer.predictions.webhook_target import Policy, read_target

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def policy(*addresses: str, error: Exception | None = None, **settings: object) -> Policy:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        if error is not None:
            raise error
        return [ipaddress.ip_address(text) for text in addresses]

    return Policy(WebhookSettings(webhook_secret=SECRET, **settings), resolve)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url, authority, port, path",
    [
        ("https://example.com", "example.com", 443, "/"),
        ("https://Example.COM:8443/a/b?c=d%20e&f", "example.com:8443", 8443, "/a/b?c=d%20e&f"),
        ("http://example.com?x", "example.com", 80, "/?x"),
        ("https://[2606:2800:220:1::1]:444/", "[2606:2800:220:1::1]:444", 444, "/"),
        ("https://8.8.8.8/hook", "8.8.8.8", 443, "/hook"),
    ],
)
def test_urls_are_taken_apart(url: str, authority: str, port: int, path: str) -> None:
    target = read_target(url)
    assert (target.authority, target.port, target.path) == (authority, port, path)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "ftp://example.com", "https://", "https:///x", "HTTPS://example.com", "https://user@example.com/",
        "https://user:pw@example.com", "https://example.com#x", "https://exa mple.com", "https://example.com/\r\nx: y",
        "https://example.com\\@10.0.0.1/", "https://ex%61mple.com/", "https://[fe80::1%25eth0]/", "https://[::1", "https://[1.2.3.4]/",
        "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://127.1/", "https://0177.0.0.1/", "https://1.2.3.4./",
        "https://a.1/", "https://./", "https://bücher.example/", "https://example.com:123456/", "https://x.com/" + "a" * 2048,
        "https://example.com\n", "https://１２７.0.0.1/", "https://example.com:/",
    ],
)  # fmt: skip
def test_what_can_be_read_two_ways_is_not_read(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^webhook: "):
        policy("8.8.8.8").read(url)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.com/{text}"):
        try:
            target = read_target(url)
        except InvalidInput:
            continue
        assert target.host.isascii()
        assert not set(target.path) & set(" \r\n\\#")


@pytest.mark.parametrize(
    "url, part",
    [
        ("https://127.0.0.1/", "public address"),
        ("https://[::ffff:10.0.0.1]/", "public address"),
        ("https://169.254.169.254/latest", "metadata"),
        ("http://example.com/", "https://"),
        ("https://example.com:22/", "ports"),
        ("https://localhost/", "public address"),
    ],
)
def test_submission_refuses_and_names_the_field(url: str, part: str) -> None:
    with pytest.raises(InvalidInput, match=part) as refused:
        asyncio.run(policy("127.0.0.1").check(url))
    assert refused.value.field == "webhook"


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(InvalidInput, match="public"):
        asyncio.run(policy("8.8.8.8", "10.0.0.1").check("https://example.com/"))


def test_settings_open_what_they_name() -> None:
    open_policy = policy("10.0.0.1", webhook_http=True, webhook_networks=("10.0.0.0/8",), webhook_ports=(0,))
    asyncio.run(open_policy.check("http://internal.example:9999/"))


def test_a_name_server_that_is_away_does_not_refuse_a_submission_but_a_delivery() -> None:
    away = policy(error=OSError("no"))
    asyncio.run(away.check("https://example.com/"))
    with pytest.raises(UpstreamUnavailable):
        asyncio.run(away.addresses(read_target("https://example.com/")))


def test_a_submission_does_not_wait_for_a_name_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(host: str, port: int) -> Sequence[Address]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(webhook_target, "_SUBMISSION_S", 0.0)
    asyncio.run(Policy(WebhookSettings(webhook_secret=SECRET), hang).check("https://example.com/"))


def test_without_a_secret_there_are_no_webhooks() -> None:
    with pytest.raises(InvalidInput, match="--webhook_secret"):
        Policy(WebhookSettings()).read("https://example.com/")
