"""Route files: read whole, or refused with the place that is wrong."""

import pytest

from penstock.errors import InvalidInput
from penstock_transformer.route_file import read_route

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


def test_nobody_live():
    text = GOOD.replace("weight: 95", "weight: 0").replace("weight: 1,", "weight: 0,")
    with pytest.raises(InvalidInput, match="no live bundle"):
        read_route(text, "flights")
