"""Credentials of a WebSocket from a browser, whose page cannot set headers: they come as a subprotocol.

    new WebSocket(url, ["penstock.stream", "penstock.bearer." + key])

The server chooses `penstock.stream`, so the credential is never sent back. Kubernetes' API server takes tokens in the same way. A
query parameter would do too, and would end up in the log of every proxy on the way.
"""

from collections.abc import Sequence

from websockets.typing import Subprotocol

STREAM = Subprotocol("penstock.stream")
_BEARER = b"penstock.bearer."


def chosen(offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The subprotocol that a handshake is answered with: ours if it is offered, else none."""
    return STREAM if STREAM in offered else None


def with_credential(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The handshake's headers, with a credential among its subprotocols where one without browser has its Authorization."""
    if b"authorization" in headers:
        return headers
    for offered in headers.get(b"sec-websocket-protocol", b"").split(b","):
        credential = offered.strip().removeprefix(_BEARER)
        if credential != offered.strip():
            return {**headers, b"authorization": b"Bearer " + credential}
    return headers
