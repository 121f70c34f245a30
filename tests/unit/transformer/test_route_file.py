"""Route files: read whole, or refused with the place that is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock_operator.route import route_text
from penstock_operator.seen import Entry
from penstock_transformer.route_file import read_route, revision_of

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
GOOD = f"""
formatVersion: 1
revision: 42
model: flights
bundles:
  - {{digest: "{A}", predictor: "http://flights-6-predictor.default:80", weight: 95}}
  - {{digest: "{B}", predictor: "http://flights-7-predictor.default", mode: shadow, fraction: 0.2}}
  - {{predictor: "http://other:8000/base", weight: 1, verify: none, model: theirs}}
"""
FOREIGN = '  - {predictor: "http://other:8000/base", weight: 2, verify: none, model: theirs}'


def test_good():
    spec = read_route(GOOD, "flights")
    assert (spec.revision, spec.model, len(spec.bundles)) == (42, "flights", 3)
    live, shadow, foreign = spec.bundles
    assert (live.weight, live.mode, live.digest) == (95.0, "live", A)
    assert (shadow.mode, shadow.fraction) == ("shadow", 0.2)
    assert (foreign.verify, foreign.digest, foreign.model) == ("none", "", "theirs")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (GOOD, "a: [", "route"),
        (GOOD, "- 1", "route"),
        (GOOD, "", "route"),
        ("formatVersion: 1", "formatVersion: 2", "formatVersion"),
        ("formatVersion: 1\n", "", "formatVersion"),
        ("revision: 42", "revision: -1", "revision"),
        ("revision: 42", "revision: '42'", "revision"),
        ("revision: 42", "revision: true", "revision"),
        ("model: flights\n", "model: trains\n", "model"),
        ("model: flights\n", "model: flights\nextra: 1\n", "route.extra"),
        ("bundles:\n", "bundles: 1\nmore:\n", "route.more"),
        (A, "sha256:abc", "bundles[0].digest"),
        (A, A.upper(), "bundles[0].digest"),
        (B, A, "bundles[1].digest"),
        ("weight: 95", "weight: -1", "bundles[0].weight"),
        ("weight: 95", "weight: .nan", "bundles[0].weight"),
        ("weight: 95", "weight: .inf", "bundles[0].weight"),
        ("weight: 95", "weight: true", "bundles[0].weight"),
        (", weight: 95", "", "bundles[0].weight"),
        ("weight: 95", "weight: 95, fraction: 1", "bundles[0].fraction"),
        ("weight: 95", "weight: 95, colour: 1", "bundles[0].colour"),
        ("fraction: 0.2", "fraction: 1.2", "bundles[1].fraction"),
        ("fraction: 0.2", "weight: 5", "bundles[1].weight"),
        ("mode: shadow", "mode: dark", "bundles[1].mode"),
        ("http://flights-6-predictor.default:80", "ftp://x", "bundles[0].predictor"),
        ("http://flights-6-predictor.default:80", "http://user:secret@x", "bundles[0].predictor"),
        ("http://flights-6-predictor.default:80", "flights", "bundles[0].predictor"),
        ("http://flights-6-predictor.default:80", "http://x:99999", "bundles[0].predictor"),
        ("verify: none", "verify: maybe", "bundles[2].verify"),
        (", verify: none", "", "bundles[2].digest"),
        ("model: theirs", "model: ''", "bundles[2].model"),
        ("model: theirs}", "model: theirs}\n" + FOREIGN, "bundles[3].predictor"),
    ],
)
def test_wrong(old, new, field):
    with pytest.raises(InvalidInput) as caught:
        read_route(GOOD.replace(old, new), "flights")
    assert caught.value.field == field


ARMED = GOOD.replace(
    "  - {digest: " + f'"{B}"',
    "  - {digest: "
    + f'"{A}", predictor: "http://flights-8-base-predictor.default:80", weight: 5, arm: baseline}}\n  - {{digest: "{B}"',
    1,
)


def test_other_pods_of_a_bundle_are_an_arm_of_it():
    spec = read_route(ARMED, "flights")
    assert [(entry.digest, entry.arm, entry.weight) for entry in spec.bundles[:2]] == [(A, "", 95.0), (A, "baseline", 5.0)]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("arm: baseline", "arm: other", "bundles[1].arm"),
        ("arm: baseline", "arm: ''", "bundles[1].arm"),
        (", arm: baseline", "", "bundles[1].digest"),
        ("weight: 95", "weight: 95, arm: baseline", "bundles[0].arm"),
        (
            f'digest: "{A}", predictor: "http://flights-6',
            f'digest: "sha256:{"c" * 64}", predictor: "http://flights-6',
            "bundles[1].arm",
        ),
        ("fraction: 0.2", "fraction: 0.2, arm: baseline", "bundles[2].arm"),
        ("verify: none", "verify: none, arm: baseline", "bundles[3].arm"),
    ],
)
def test_wrong_arms(old, new, field):
    text = ARMED.replace(old, new, 1)
    assert text != ARMED
    with pytest.raises(InvalidInput) as caught:
        read_route(text, "flights")
    assert caught.value.field == field


def test_nobody_live():
    text = GOOD.replace("weight: 95", "weight: 0").replace("weight: 1,", "weight: 0,")
    with pytest.raises(InvalidInput, match="no live bundle"):
        read_route(text, "flights")


BOMB = "x: &a [1, 1]\ny: &b [*a, *a]\nrevision: *b"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("#" * 65537, "route"),
        (BOMB, "route line 1: x"),
        ("[" * 5000, "route line 1"),
        ("revision: 1\nrevision: 2", "route line 2: revision"),
        (GOOD.replace("revision: 42", "revision: " + "9" * 5000), "revision"),
        (GOOD.replace("revision: 42", "revision: 9007199254740992"), "revision"),
        (GOOD.replace("revision: 42", "revision: 2024-99-99"), "revision"),
        (GOOD.replace("formatVersion: 1", "formatVersion: true"), "formatVersion"),
        (GOOD.replace("weight: 95", "weight: [[[[" + "1," * 5000 + "]]]]"), "bundles[0].weight"),
        ("a: \x00", "route"),
        ("!!python/object:os.system x", "route line 1"),
    ],
)
def test_what_would_hurt_a_reader_is_refused_in_a_few_words(text, field):
    with pytest.raises(InvalidInput) as caught:
        read_route(text, "flights")
    assert caught.value.field == field
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("text", "revision"),
    [
        ("revision: 9\nmodel: [", 9),
        ("revision:  9  # last\n", 9),
        ("  revision: 9", None),
        ("revision: '9'", None),
        ("revision: " + "9" * 17, None),
        ("", None),
    ],
)
def test_the_revision_of_a_text_that_is_wrong(text, revision):
    assert revision_of(text) == revision


def test_a_whole_megabyte_is_looked_at_for_no_longer_than_a_small_text():
    assert revision_of(" " * 2**20 + "\nrevision: 1") is None


entries = st.lists(
    st.builds(
        Entry,
        digest=st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__),
        predictor=st.sampled_from(["http://flights-7-predictor.default:80", "http://no.ns:80"]),
        weight=st.floats(0.0001, 100).map(lambda weight: round(weight, 4)),
        fraction=st.none() | st.floats(0, 1).map(lambda fraction: round(fraction, 4)),
        model=st.none() | st.sampled_from(["flights-7", "no", "null"]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda entry: entry.digest,
)


@given(entries, st.integers(0, 2**53 - 1), st.sampled_from(["flights", "on", "y"]))
def test_what_the_operator_writes_is_read_as_it_was_meant(written, revision, model):
    live = [entry for entry in written if entry.fraction is None]
    text = route_text(model, revision, tuple(written))
    if not live:
        with pytest.raises(InvalidInput, match="no live bundle"):
            read_route(text, model)
        return
    spec = read_route(text, model)
    assert (spec.revision, spec.model) == (revision, model)
    for entry, read in zip(written, spec.bundles, strict=True):
        assert (read.digest, read.predictor, read.model) == (entry.digest, entry.predictor, entry.model)
        assert (read.mode, read.weight) == (("live", entry.weight) if entry.fraction is None else ("shadow", 0.0))
        assert read.fraction == (entry.fraction or 0.0)
