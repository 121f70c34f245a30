"""Which addresses a webhook may be sent to: the public ones, and those that a setting names. Pure arithmetic on addresses.

A caller chooses where we connect to, so a private address is a way into our own network: to a cluster's services, a cloud's
metadata with its credentials, this very machine. An IPv6 address that carries an IPv4 one (mapped, compatible, 6to4, Teredo,
NAT64) is judged by that one too. Source: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its
successors), written out, because `ipaddress.is_global` changes from one Python to the next.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from penstock.errors import InvalidInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
# Everything in use on the public network lies in the first; what is special within it, in the second.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")

# Where clouds answer with the machine's own credentials: open only to who names the very address, whatever else is allowed.
METADATA: frozenset[Address] = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
    )
)  # fmt: skip


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks from their texts (`10.0.0.0/8`, `fd00::/8`, `192.168.1.7`). Raises ValueError naming the one that is none."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ValueError(f"webhook_networks: expected networks such as 10.0.0.0/8: {error}") from None
    return tuple(found)


def refusal(address: Address, allowed: Sequence[Network] = ()) -> str | None:
    """Why nothing is sent to this address, None if it may be."""
    for one in (address, *_carried(address)):
        reason = _refusal_of_one(one, allowed)
        if reason is not None:
            return reason
    return None


def check_address(address: Address, allowed: Sequence[Network], field: str) -> None:
    """Raises InvalidInput for an address that nothing is sent to."""
    reason = refusal(address, allowed)
    if reason is not None:
        raise InvalidInput(f"expected a public address, got {reason}", field=field)


def _refusal_of_one(address: Address, allowed: Sequence[Network]) -> str | None:
    covering = [network for network in allowed if network.version == address.version and address in network]
    if address in METADATA:
        return None if any(network.num_addresses == 1 for network in covering) else "the metadata service of a cloud"
    if covering:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        special = any(address in network for network in _SPECIAL_V4)
    else:
        carries = bool(_carried(address))
        special = not carries and (address not in _GLOBAL_V6 or any(address in network for network in _SPECIAL_V6))
    return "a private, local or reserved one" if special else None


def _carried(address: Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return [low]
    return []
