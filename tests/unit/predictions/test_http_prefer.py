"""The Prefer header, read and answered."""

import pytest

from penstock_transformer.http.prefer import NONE, Preference, read_prefer


@pytest.mark.parametrize(
    "value, wanted",
    [
        (None, NONE),
        (b"", NONE),
        (b"wait", Preference(wait=True)),
        (b"respond-async", Preference(respond_async=True)),
        (b"Respond-Async, wait=10", Preference(True, True, 10.0)),
        (b"wait=10,respond-async;x=1", Preference(True, True, 10.0)),
        (b'wait="10"; foo=bar', Preference(False, True, 10.0)),
        (b"wait=3, wait=9", Preference(False, True, 3.0)),
        (b"wait=-1", Preference(wait=True)),
        (b"wait=1e3", Preference(wait=True)),
        (b"wait=999999999999", Preference(wait=True)),
        (b"return=minimal, handling=lenient", NONE),
        (b"respond-asynchronously", NONE),
        (b", ,;=,", NONE),
    ],
)
def test_what_is_preferred(value: bytes | None, wanted: Preference) -> None:
    assert read_prefer(value) == wanted


def test_what_was_heeded_is_said() -> None:
    assert NONE.applied(None) == b""
    assert Preference(wait=True).applied(None) == b""
    assert Preference(True).applied(None) == b"preference-applied: respond-async\r\n"
    assert Preference(True, True, 100).applied(60.0) == b"preference-applied: respond-async, wait=60\r\n"
    assert Preference(False, True, 0).applied(0.0) == b"preference-applied: wait=0\r\n"
