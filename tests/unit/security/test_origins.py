"""Which pages may call, and how a browser without headers says who it is."""

import pytest

from penstock.errors import InvalidInput
from penstock.serving.security.origins import check_origins, page_may_call
from penstock.serving.security.subprotocols import chosen, with_credential


@pytest.mark.parametrize(
    "origin, host, origins, may",
    [
        (None, b"h:1", (), True),
        (b"http://h:1", b"h:1", (), True),
        (b"http://h:2", b"h:1", (), False),
        (b"https://evil.example", b"h:1", (), False),
        (b"https://evil.example", None, (), False),
        (b"null", b"h:1", ("https://a.example",), False),
        (b"", b"", (), False),
        (b"https://A.example", b"h:1", ("https://a.example",), True),
        (b"https://a.example.evil", b"h:1", ("https://a.example",), False),
        (b"https://any.example", b"h:1", ("*",), True),
    ],
)
def test_pages(origin: bytes | None, host: bytes | None, origins: tuple[str, ...], may: bool) -> None:
    assert page_may_call(origin, host, origins) is may


def test_origins_are_as_browsers_send_them() -> None:
    check_origins(("*", "https://a.example", "http://localhost:3000"))
    for wrong in ("a.example", "https://a.example/", "https://A.example", "https://a.example/page", ""):
        with pytest.raises(InvalidInput, match="cors_origins"):
            check_origins((wrong,))


def test_a_credential_may_be_a_subprotocol() -> None:
    offered = {b"sec-websocket-protocol": b"penstock.stream, penstock.bearer.abc.d-_"}
    assert with_credential(offered)[b"authorization"] == b"Bearer abc.d-_"
    assert with_credential({**offered, b"authorization": b"Bearer own"})[b"authorization"] == b"Bearer own"
    assert b"authorization" not in with_credential({b"sec-websocket-protocol": b"penstock.stream"})
    assert with_credential({}) == {}
    assert chosen(["penstock.bearer.x", "penstock.stream"]) == "penstock.stream"  # type: ignore[list-item]
    assert chosen([]) is None
