"""What a refusal carries, and what of it is logged."""

import pytest

from penstock.errors import Forbidden, InvalidInput, Overloaded, PenstockError, Unauthenticated
from penstock.serving.shell import own_words
from penstock.serving.status import error_headers


@pytest.mark.parametrize(
    "error, lines",
    [
        (Unauthenticated("x"), b'www-authenticate: Bearer realm="penstock"\r\n'),
        (
            Forbidden("x", scope='predict:a"\r\nb\u00e9'),
            b'www-authenticate: Bearer realm="penstock", error="insufficient_scope", scope="predict:a???b?"\r\n',
        ),
        (Forbidden("x"), b""),
        (InvalidInput("x"), b""),
        (Overloaded("x", retry_after_s=0.2), b"retry-after: 1\r\nretry-after-ms: 200\r\n"),
    ],
)
def test_the_headers_of_a_refusal(error: PenstockError, lines: bytes) -> None:
    assert error_headers(error) == lines


@pytest.mark.parametrize(
    "field, logged",
    [
        (None, None),
        ("rows[3].carrier", "rows[3].…"),
        ("inputs[0].data", "inputs[0].data"),
        ("Penstock-Timeout-Ms", "Penstock-Timeout-Ms"),
        ("my secret", "…"),
        ("rows[my secret].data", "rows[…].data"),
        ("rows[1][x", "rows[…]"),
        ("parameters.secret.name", "parameters.….name"),
    ],
)
def test_only_our_own_words_are_logged(field: str | None, logged: str | None) -> None:
    assert own_words(field) == logged
