"""Which bundle answers: shares, stickiness, versions, expected digests."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.dataplane import Context, ModelMetadata, TensorMetadata
from penstock.errors import NotFound, NotReady, UpstreamUnavailable, WrongBundle
from penstock.features.reading import read_spec
from penstock.testing.bundles import FakePredictor
from penstock_transformer.active import ActiveBundle
from penstock_transformer.loading import foreign_bundle
from penstock_transformer.plan import plan_of
from penstock_transformer.requests import PredictRequest
from penstock_transformer.route.applying import live_targets
from penstock_transformer.route_file import RouteEntry
from penstock_transformer.routing import Route, Target, choose, copies, elsewhere, key_of, rendezvous, unit_of


def bundle(digit: str, version: str = "1", plan=None) -> ActiveBundle:
    signature = ModelSignature("m", (), (TensorMetadata("y", "FP32", (-1,)),), True)
    manifest = Manifest("m", version, signature, PostprocessSpec("raw"), {})
    return ActiveBundle(manifest, "sha256:" + digit * 64, FakePredictor({}), "m", plan=plan)


def request(rows=None, **given) -> PredictRequest:
    made = {k: given.pop(k) for k in ("columns", "record_id", "version") if k in given}
    return PredictRequest("m", Context("r", **given), rows=rows, **made)


A, B, C = bundle("a"), bundle("b", "2"), bundle("c", "3")
OUTPUTS = (TensorMetadata("y", "FP32", (-1,)),)


def test_shares_are_the_weights():
    live = (Target(A, 95), Target(B, 5))
    counts = Counter(rendezvous(live, str(i).encode()).bundle.version for i in range(20_000))
    assert 0.04 < counts["2"] / 20_000 < 0.06


def test_a_weight_of_nothing_gets_nothing():
    live = (Target(A, 0), Target(B, 5))
    assert {rendezvous(live, str(i).encode()).bundle for i in range(200)} == {B}


def test_shares_of_foreign_servers_that_know_no_digests():
    def foreign(address: str) -> ActiveBundle:
        return foreign_bundle(FakePredictor({}), "m", ModelMetadata("m", (), "", (), OUTPUTS), identity=address)

    live = (Target(foreign("http://a"), 50), Target(foreign("http://b"), 50))
    counts = Counter(live.index(rendezvous(live, str(i).encode())) for i in range(2_000))
    assert 0.4 < counts[0] / 2_000 < 0.6


def test_a_foreign_server_that_names_no_outputs():
    with pytest.raises(UpstreamUnavailable, match="no outputs"):
        foreign_bundle(FakePredictor({}), "m", ModelMetadata("m", (), "", (), ()))


def test_a_version_that_only_weightless_bundles_have():
    """While a Deployment rolls, and for a canary at nothing, several bundles may have one version and no weight."""
    twin = bundle("d", "3")
    route = Route(0, (Target(A, 1), Target(C, 0), Target(twin, 0)))
    assert choose(route, request(version="3", route_key="k")) in (C, twin)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=40), st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.1, 100))
def test_raising_a_weight_moves_callers_to_it_only(key, weight, other, more):
    before = rendezvous((Target(A, weight), Target(B, other)), key).bundle
    after = rendezvous((Target(A, weight), Target(B, other + more)), key).bundle
    assert after is before or after is B


def armed(stable: float, baseline: float, candidate: float) -> tuple[Target, ...]:
    """A, the same bundle on other pods, and B."""
    entries = ((A, stable, ""), (APART, baseline, "baseline"), (B, candidate, ""))
    return live_targets([(RouteEntry(one.digest, "http://x", weight, arm=arm), one) for one, weight, arm in entries])


APART = bundle("a")


def test_arms_have_their_shares():
    live = armed(90, 5, 5)
    assert [target.arm for target in live] == ["", "", "baseline"]
    counts = Counter(id(rendezvous(live, str(i).encode()).bundle) for i in range(20_000))
    assert 0.04 < counts[id(B)] / 20_000 < 0.06
    assert 0.04 < counts[id(APART)] / 20_000 < 0.06


@given(st.binary(max_size=40), st.floats(1, 40), st.floats(0, 1))
def test_an_arm_takes_no_caller_from_another_bundle_and_gives_none(key, candidate, part):
    """While it comes, grows and goes the same callers are the candidate's."""
    old = 100 - candidate
    alone = rendezvous((Target(A, old), Target(B, candidate)), key).bundle
    shared = rendezvous(armed(old * (1 - part), old * part, candidate), key).bundle
    assert (shared is B) == (alone is B)
    more = rendezvous(armed(old * (1 - part) / 2, old * (1 + part) / 2, candidate), key).bundle
    assert more is shared or (shared is A and more is APART)


def test_without_weight_an_arm_gets_nothing_and_the_bundles_own_entry_is_found_first():
    live = armed(95, 0, 5)
    assert {id(rendezvous(live, str(i).encode()).bundle) for i in range(500)} == {id(A), id(B)}
    route = Route(1, armed(90, 5, 5))
    assert choose(route, request(expect_bundle=A.digest)) is A
    assert {id(choose(route, request(version="1", route_key=str(i)))) for i in range(500)} == {id(A), id(APART)}


def test_who_finds_no_pod_of_an_arm_gets_the_same_bundle_elsewhere():
    route = Route(1, armed(40, 5, 55))
    assert elsewhere(route, APART) is A
    assert elsewhere(route, A) is APART
    assert elsewhere(route, B) is A


@given(st.binary(max_size=40))
def test_a_new_bundle_takes_callers_and_shuffles_none(key):
    two = (Target(A, 60), Target(B, 40))
    before, after = rendezvous(two, key).bundle, rendezvous((*two, Target(C, 10)), key).bundle
    assert after in (before, C)


def test_the_order_of_the_file_does_not_matter():
    for i in range(200):
        key = str(i).encode()
        assert rendezvous((Target(A, 1), Target(B, 2)), key).bundle is rendezvous((Target(B, 2), Target(A, 1)), key).bundle


SPEC = """
formatVersion: 1
record: {set: planes, key: tailnum}
sets:
  planes: {view: planes, keys: {tailnum: tail}}
features:
  - {name: seats, from: planes.seats, type: float32, missing: keep, encode: passthrough}
tensors: {x: [seats]}
store: {project: p, keySerialization: 3, views: {planes: {keys: {tailnum: string}, values: {seats: float}}}}
"""


def test_sticky_by_route_key_else_first_entity_key():
    route = Route(1, (Target(bundle("a", plan=plan_of(read_spec(SPEC))), 1), Target(B, 1)))
    assert key_of(route, request([{"tail": "N1"}, {"tail": "N2"}])) == b"N1"
    assert key_of(route, request(columns={"tail": np.array(["N1", "N2"], object)})) == b"N1"
    assert key_of(route, request(columns={"tail": np.array([b"N1"], object)})) == b"N1"
    assert key_of(route, request(record_id="N1")) == b"N1"
    assert key_of(route, request([{"tail": "N1"}], route_key="me")) == b"me"
    assert len({choose(route, request([{"tail": "N1"}])) for _ in range(50)}) == 1
    nobody = {choose(route, request(rows)) for rows in ([{}], [{"tail": None}], []) for _ in range(50)}
    assert len(nobody) == 2


def test_versions_and_expected_digests():
    route = Route(1, (Target(A, 99), Target(B, 1)), (Target(C, fraction=1.0),))
    assert choose(route, request(version="2")) is B
    assert choose(route, request(expect_bundle=B.digest)) is B
    assert choose(route, request(expect_bundle=f"m@{C.digest}")) is C
    with pytest.raises(NotFound):
        choose(route, request(version="4"))
    with pytest.raises(WrongBundle):
        choose(route, request(expect_bundle="sha256:" + "d" * 64))
    with pytest.raises(NotReady):
        choose(None, request())


SALT = bytes(16)


def test_shadows_get_their_fraction_of_copies():
    route = Route(1, (Target(A, 1),), (Target(C, fraction=0.2),))
    count = sum(len(copies(route, request(), None, SALT)) for _ in range(5000))
    assert 800 < count < 1200
    keyed = [copies(route, request(), str(number).encode(), SALT) for number in range(5000)]
    assert 800 < sum(map(len, keyed)) < 1200


def test_who_names_a_bundle_or_version_has_no_copies():
    route = Route(1, (Target(A, 1),), (Target(C, fraction=1.0),))
    assert copies(route, request(), b"anna", SALT) == copies(route, request(), None, SALT) == [C]
    for named in (request(expect_bundle=A.digest), request(version="1")):
        assert copies(route, named, b"anna", SALT) == copies(route, named, None, SALT) == []


def test_all_requests_of_a_key_are_copied_or_none_is_and_by_another_salt_it_is_drawn_anew():
    route = Route(1, (Target(A, 1),), (Target(B, fraction=0.5), Target(C, fraction=0.5)))
    drawn = {}
    for salt in (SALT, b"\1" * 16):
        for number in range(400):
            key = str(number).encode()
            found = {tuple(copies(route, request(), key, salt)) for _ in range(5)}
            assert len(found) == 1
            drawn[number, salt] = found.pop()
    # The shadows draw for themselves, and so do the salts.
    assert 60 < sum(drawn[number, SALT] == (B, C) for number in range(400)) < 140
    assert 60 < sum(drawn[number, SALT] == drawn[number, b"\1" * 16] for number in range(400)) < 140


def test_a_draw_for_copies_has_nothing_to_do_with_the_version_that_answers():
    route = Route(1, (Target(A, 1), Target(B, 1)), (Target(B, fraction=0.5),))
    copied = [number for number in range(2000) if copies(route, request(), str(number).encode(), SALT)]
    answered = sum(choose(route, request(route_key=str(number))) is B for number in copied)
    assert 0.42 < answered / len(copied) < 0.58


def test_what_a_request_is_counted_by():
    alone, several = Route(1, (Target(A, 1),)), Route(1, (Target(A, 1), Target(B, 1)))
    for route in (alone, several):
        assert unit_of(route, request(route_key="anna", record_id="7")) == b"anna"
        assert unit_of(route, request(record_id="7")) == b"7"
        assert unit_of(route, request(rows=[{}])) is None
        assert unit_of(route, request(route_key="")) is None
