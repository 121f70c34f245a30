"""EndpointSlices as a state machine, the names that Services go by, and what a profile says of the best size of a call."""

import pytest

from penstock_transformer.cluster_endpoints import endpoint_source, service_of
from penstock_transformer.endpoint_slices import EndpointSlices
from penstock_transformer.endpoints import DnsEndpoints, Endpoint, FixedEndpoints
from penstock_transformer.predictor_client import best_rows


def slice_of(name, *addresses, ports=((None, 8080),), version="1", **conditions):
    return {
        "metadata": {"name": name, "resourceVersion": version},
        "ports": [{"name": port_name, "port": port} for port_name, port in ports],
        "endpoints": [{"addresses": [address], "conditions": conditions} for address in addresses],
    }


def listed(*items, version="10"):
    return {"metadata": {"resourceVersion": version}, "items": list(items)}


def hosts(slices):
    return [endpoint.host for endpoint in slices.endpoints()]


def test_endpoints_are_the_union_of_all_slices_each_once():
    slices = EndpointSlices()
    slices.replace(listed(slice_of("a", "10.0.0.2", "10.0.0.1"), slice_of("b", "10.0.0.2", "10.0.0.3")))
    assert slices.endpoints() == tuple(Endpoint(f"10.0.0.{n}", 8080, lasting=True) for n in (1, 2, 3))
    assert slices.version == "10"


def test_events_change_what_was_listed():
    slices = EndpointSlices()
    slices.replace(listed(slice_of("a", "10.0.0.1")))
    assert slices.apply({"type": "ADDED", "object": slice_of("b", "10.0.0.2", version="11")})
    assert slices.apply({"type": "MODIFIED", "object": slice_of("a", "10.0.0.3", version="12")})
    assert hosts(slices) == ["10.0.0.2", "10.0.0.3"]
    assert slices.apply({"type": "DELETED", "object": slice_of("b", "10.0.0.2", version="13")})
    assert slices.apply({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}})
    assert (hosts(slices), slices.version) == (["10.0.0.3"], "99")


def test_where_none_is_ready_those_that_were_are_asked():
    slices = EndpointSlices()
    slices.replace(listed(slice_of("a", "10.0.0.1", "10.0.0.2"), slice_of("b", "10.0.0.9", ready=False)))
    unready = slice_of("a", "10.0.0.1", "10.0.0.2", version="11", ready=False)
    assert slices.apply({"type": "MODIFIED", "object": unready})
    assert hosts(slices) == ["10.0.0.1", "10.0.0.2"]
    slices.replace(listed(unready))
    assert hosts(slices) == ["10.0.0.1", "10.0.0.2"]
    # One that is ready is enough, those that go are not asked, and one that is gone is forgotten.
    assert slices.apply({"type": "ADDED", "object": slice_of("c", "10.0.0.3", version="12")})
    assert hosts(slices) == ["10.0.0.3"]
    leaving = slice_of("c", "10.0.0.3", version="13", ready=False, serving=True, terminating=True)
    assert slices.apply({"type": "MODIFIED", "object": leaving})
    assert hosts(slices) == ["10.0.0.1", "10.0.0.2"]
    for name in ("a", "c"):
        assert slices.apply({"type": "DELETED", "object": slice_of(name, version="14")})
    assert hosts(slices) == []
    assert slices.apply({"type": "ADDED", "object": unready})
    assert hosts(slices) == []


@pytest.mark.parametrize("event", [{"type": "ERROR", "object": {"code": 410}}, {"type": "NEWS", "object": {}}, {}])
def test_what_a_watch_cannot_go_on_from(event):
    slices = EndpointSlices()
    slices.replace(listed(slice_of("a", "10.0.0.1")))
    assert not slices.apply(event)
    assert hosts(slices) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("conditions", "taken"),
    [
        ({}, True),
        ({"ready": True}, True),
        ({"ready": None}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "terminating": True}, False),
    ],
)
def test_only_pods_that_take_requests_count(conditions, taken):
    slices = EndpointSlices()
    slices.replace(listed(slice_of("a", "10.0.0.1", **conditions)))
    assert bool(slices.endpoints()) is taken


@pytest.mark.parametrize(
    ("port_name", "ports", "port"),
    [
        ("http", (("grpc", 8081), ("http", 8080)), 8080),
        ("other", (("grpc", 8081), ("http", 8080)), None),
        (None, (("metrics", 9090),), 9090),
        (None, (("grpc", 8081), ("http1", 8080)), 8080),
        (None, (("grpc", 8081), ("metrics", 9090)), None),
        (None, (), None),
        ("", ((None, 8080), ("grpc", 8081)), 8080),
    ],
)
def test_the_port_is_the_services(port_name, ports, port):
    slices = EndpointSlices(port_name)
    slices.replace(listed(slice_of("a", "10.0.0.1", ports=ports)))
    assert [endpoint.port for endpoint in slices.endpoints()] == ([port] if port else [])


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("flights-predictor", ("flights-predictor", "here")),
        ("flights-predictor.there", ("flights-predictor", "there")),
        ("flights-predictor.there.svc", ("flights-predictor", "there")),
        ("flights-predictor.there.svc.cluster.local.", ("flights-predictor", "there")),
        ("predictor.example.com", None),
    ],
)
def test_names_of_services(host, service):
    assert service_of(host, "here") == service


def test_outside_of_a_cluster_names_are_looked_up_and_addresses_are_not(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert isinstance(endpoint_source("flights-predictor", 80), DnsEndpoints)
    assert isinstance(endpoint_source("10.0.0.1", 80), FixedEndpoints)


def test_an_endpoint_is_shown_as_it_is_written():
    assert str(Endpoint("::1", 80)) == "[::1]:80"
    assert str(Endpoint("10.0.0.1", 80)) == "10.0.0.1:80"


@pytest.mark.parametrize(
    ("properties", "rows"),
    [
        ({"profile": [{"rows": 1, "ms": 1.0}, {"rows": 8, "ms": 2.0}, {"rows": 16, "ms": 3.9}, {"rows": 32, "ms": 16.0}]}, 8),
        ({"profile": []}, 0),
        ({"profile": [{"rows": 4, "ms": 0}]}, 0),
        ({"profile": "none"}, 0),
        ({}, 0),
    ],
)
def test_the_best_size_of_a_call(properties, rows):
    assert best_rows(properties) == rows
