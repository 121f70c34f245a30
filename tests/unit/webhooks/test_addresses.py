"""Addresses: no form of an address leads a webhook into a private network unless a setting opens it."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_transformer.predictions.addresses import METADATA, check_address, read_networks, refusal

ANY_V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
SPECIAL_V4 = st.one_of(
    *(
        st.integers(int(network.network_address), int(network.broadcast_address)).map(IPv4Address)
        for network in map(
            ipaddress.IPv4Network,
            [
                "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "0.0.0.0/8",
                "224.0.0.0/3",
            ],
        )
    )
)  # fmt: skip
ANY_V6 = st.integers(0, 2**128 - 1).map(IPv6Address)


def forms(address: IPv4Address) -> list[IPv6Address]:
    """Every IPv6 address that stands for an IPv4 one."""
    low = int(address)
    return [
        IPv6Address(0xFFFF << 32 | low),
        IPv6Address(low) if low > 1 else IPv6Address(0),
        IPv6Address(int(IPv6Address("64:ff9b::")) | low),
        IPv6Address(int(IPv6Address("2002::")) | low << 80),
        IPv6Address(int(IPv6Address("2001::")) | low << 64),
        IPv6Address(int(IPv6Address("2001::")) | int(IPv4Address("8.8.8.8")) << 64 | low ^ 0xFFFFFFFF),
    ]


@given(SPECIAL_V4)
def test_no_form_of_a_private_address_is_open(address: IPv4Address) -> None:
    assert refusal(address)
    for form in forms(address):
        assert refusal(form), form


@given(st.one_of(ANY_V4, ANY_V6))
def test_what_python_calls_private_is_refused(address: IPv4Address | IPv6Address) -> None:
    if address.is_private or address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified:
        assert refusal(address)


@given(ANY_V4)
def test_a_form_is_open_exactly_when_its_address_is(address: IPv4Address) -> None:
    if int(address) < 2:
        return
    for form in forms(address)[:4]:
        assert (refusal(form) is None) == (refusal(address) is None), form


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_nothing_outside_the_public_range_is_open(address: IPv6Address) -> None:
    if refusal(address) is None:
        assert any(address in ipaddress.IPv6Network(text) for text in ("2000::/3", "64:ff9b::/96", "::ffff:0:0/96", "::/96"))


@pytest.mark.parametrize("text", ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "2a00:1450::1", "::ffff:8.8.8.8"])
def test_public_addresses_are_open(text: str) -> None:
    assert refusal(ipaddress.ip_address(text)) is None


@pytest.mark.parametrize(
    "text", ["fe80::1", "fec0::1", "fd00::1", "::1", "::", "ff02::1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1"]
)
def test_special_ipv6_is_refused(text: str) -> None:
    assert refusal(ipaddress.ip_address(text))


def test_a_named_network_is_open_in_every_form() -> None:
    allowed = read_networks(["10.1.0.0/16", "fd12::/32"])
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::5"):
        assert refusal(ipaddress.ip_address(text), allowed) is None
    assert refusal(IPv4Address("10.2.0.1"), allowed)


@pytest.mark.parametrize("address", sorted(METADATA, key=str))
def test_metadata_is_refused_in_an_open_network_unless_named_itself(address: IPv4Address | IPv6Address) -> None:
    wide = read_networks(["0.0.0.0/0", "::/0"])
    assert refusal(address, wide) == "the metadata service of a cloud"
    if isinstance(address, IPv4Address):
        assert refusal(forms(address)[0], wide)
    assert refusal(address, [*wide, *read_networks([str(address)])]) is None


def test_wrong_networks_are_named() -> None:
    with pytest.raises(ValueError, match="webhook_networks"):
        read_networks(["10.0.0.1/8"])


def test_the_error_names_the_field() -> None:
    with pytest.raises(InvalidInput, match="webhook: expected a public address"):
        check_address(IPv4Address("127.0.0.1"), (), "webhook")
