"""Names of bodies: every id has a key of its own that cannot leave the store, and no reference but ours is read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_transformer.predictions.object_names import Kind, id_text, name_of, read_key, read_reference
from penstock_transformer.predictions.resource import new_id

BASE = "s3://bucket/some/prefix"
IDS = st.one_of(st.text(max_size=300), st.sampled_from(["..", ".", "", "/", "../../etc/passwd", "a/b/0", "a_b", "__", "\0", "é"]))


@given(IDS, st.sampled_from(Kind), st.binary(max_size=50), st.integers(0, 9_999_999_999_999))
def test_a_name_is_read_back_from_its_reference(prediction_id: str, kind: Kind, body: bytes, written_ms: int) -> None:
    name = name_of(prediction_id, kind, body, written_ms)
    assert read_reference(BASE, f"{BASE}/{name.key}") == name
    assert name.matches(body)
    assert not name.matches(body + b"x")
    assert re.fullmatch(r"(input|result)/[A-Za-z0-9_-]{1,200}/[0-9a-f-]+", name.key)
    if len(id_text(prediction_id)) < 66 or not id_text(prediction_id).startswith("__"):
        assert name.prediction_id == prediction_id


@given(IDS, IDS)
def test_two_ids_have_two_texts(one: str, other: str) -> None:
    assert (id_text(one) == id_text(other)) == (one == other)


def test_an_id_of_ours_is_readable_in_the_key() -> None:
    prediction_id = new_id()
    assert id_text(prediction_id) == prediction_id


@given(st.text(max_size=200))
def test_keys_that_are_none_of_ours_are_none(text: str) -> None:
    assert read_key(text) is None


GOOD = name_of("one", Kind.INPUT, b"body", 1_700_000_000_000).key


@pytest.mark.parametrize(
    "reference",
    [
        GOOD,
        f"s3://bucket/some/{GOOD}",
        f"s3://bucket/some/prefix2/{GOOD}",
        f"s3://other/some/prefix/{GOOD}",
        f"{BASE}/../prefix/{GOOD}",
        f"{BASE}//{GOOD}",
        f"{BASE}/{GOOD}/",
        f"{BASE}/{GOOD}\n",
        f"{BASE}/{GOOD}?versionId=1",
        f"{BASE}/{GOOD}#",
        f"{BASE}/input/../{GOOD}",
        f"{BASE}/input/%2e%2e/{GOOD.split('/')[2]}",
        f"{BASE}/{GOOD.replace('input', 'INPUT')}",
        f"{BASE}/{GOOD.replace('1700000000000', '१७०००००००००००')}",
        "file:///etc/passwd",
        "",
    ],
)  # fmt: skip
def test_a_reference_that_is_none_of_ours_is_refused(reference: str) -> None:
    with pytest.raises(InvalidInput, match="penstock-reference"):
        read_reference(BASE, reference)
