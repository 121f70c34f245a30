"""Entity keys and hash fields: fixed bytes from Feast 0.67, both versions, and every key that is written is read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.features.spec import StoreLayout, ViewLayout
from penstock_transformer.store.entity_keys import EntityKeyCodec
from penstock_transformer.store.murmur import murmur3_32
from penstock_transformer.store.redis_commands import fetch, glob, instant
from penstock_transformer.store.redis_url import redis_address
from penstock_transformer.store.view import Views

# serialize_entity_key of Feast 0.67 for {user: "ü", item: -5}, as hex.
VERSION_3 = "0200000002000000040000006974656d0200000004000000757365720400000008000000fbffffffffffffff0200000002000000c3bc"
VERSION_2 = "020000006974656d02000000757365720400000008000000fbffffffffffffff0200000002000000c3bc"


@pytest.mark.parametrize(("version", "expected"), [(3, VERSION_3), (2, VERSION_2)])
def test_bytes_are_feasts(version, expected):
    codec = EntityKeyCodec({"user": "string", "item": "int64"}, version, "v")
    assert codec.encode([("ü", -5)])[0].hex() == expected
    assert codec.decode(bytes.fromhex(expected) + b"project") == (("ü", -5), b"project")


TYPES = {
    "string": st.text(st.characters(exclude_categories=["Cs"])),
    "bytes": st.binary(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "unix_timestamp": st.integers(-(2**40), 2**40),
}


@given(
    st.data(), st.sampled_from([2, 3]), st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=4), st.binary(max_size=8)
)
def test_keys_come_back(data, version, types, project):
    codec = EntityKeyCodec({f"key{9 - place}": kind for place, kind in enumerate(types)}, version, "v")
    key = tuple(data.draw(TYPES[kind]) for kind in types)
    (encoded,) = codec.encode([key])
    assert codec.decode(encoded + project) == (key, project)


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_do_not(data):
    codec = EntityKeyCodec({"user": "string", "item": "int64"}, 3, "v")
    for tail in (data, codec.prefix + data):
        codec.decode(tail)


@pytest.mark.parametrize(
    ("types", "key", "field"),
    [
        ({"a": "int64"}, (True,), "keys[0].a"),
        ({"a": "int64"}, ("1",), "keys[0].a"),
        ({"a": "int32"}, (2**31,), "keys[0].a"),
        ({"a": "string"}, (1,), "keys[0].a"),
        ({"a": "string", "b": "int64"}, ("x", None), "keys[0].b"),
        ({"a": "string", "b": "int64"}, ("x",), "keys[0]"),
        ({"a": "unix_timestamp"}, (1.5,), "keys[0].a"),
        ({"a": "bytes"}, ("x",), "keys[0].a"),
        ({"a": "string"}, ("\ud800",), "keys[0].a"),
    ],
)
def test_a_wrong_key_is_named(types, key, field):
    with pytest.raises(InvalidInput) as caught:
        EntityKeyCodec(types, 3, "v").encode([key])
    assert caught.value.field == field


def test_what_feast_cannot_serialise_or_no_longer_does_is_refused():
    with pytest.raises(InvalidInput, match="double"):
        EntityKeyCodec({"a": "double"}, 3, "v")
    for version in (0, 1, 4):
        with pytest.raises(InvalidInput, match=str(version)):
            EntityKeyCodec({"a": "string"}, version, "v")


@pytest.mark.parametrize(
    ("text", "expected"),
    # Published test vectors of MurmurHash3_x86_32, seed 0.
    [("", 0), ("hello", 0x248BFA47), ("hello, world", 0x149BBB7F), ("The quick brown fox jumps over the lazy dog", 0x2E4FF723)],
)
def test_murmur(text, expected):
    assert murmur3_32(text.encode()) == expected


def test_a_fetch_is_one_command_a_key():
    view = Views(StoreLayout("p", 3, {"v": ViewLayout({"id": "string"}, {"a": "int64"})}))["v"]
    (field,) = [murmur3_32(b"v:a").to_bytes(4, "little")]
    packed = fetch(view.reading(("a",)), [b"one", b"three"])
    tail = b"\r\n$4\r\n" + field + b"\r\n$5\r\n_ts:v\r\n"
    assert packed == b"*4\r\n$5\r\nHMGET\r\n$3\r\none" + tail + b"*4\r\n$5\r\nHMGET\r\n$5\r\nthree" + tail


@pytest.mark.parametrize(
    ("time", "expected"),
    [(0.0, (0, 0)), (1.5, (1, 500_000_000)), (-0.25, (-1, 750_000_000)), (1.9999999, (2, 0)), (1e9, (10**9, 0))],
)
def test_instants(time, expected):
    assert instant(time) == expected


def test_globs_match_only_the_prefix():
    assert glob(b"a*b?[c]\\\x00") == b"a\\*b\\?\\[c\\]\\\\\x00*"


def test_redis_addresses():
    address = redis_address("redis://user:p%40ss@host:7000/3?key_ttl_seconds=60")
    assert (address.host, address.port, address.database, address.username, address.password) == ("host", 7000, 3, "user", "p@ss")
    assert address.key_ttl_s == 60
    assert address.tls is None
    assert "p@ss" not in repr(address) + address.label
    assert redis_address("rediss://host").tls is not None
