"""What a path needs: every spelling that a router would take is found, and what is not known is closed."""

import pytest

from penstock.errors import InvalidInput
from penstock.serving.security.needs import UNKNOWN, Need, is_open, model_in, need_of, need_of_hot


@pytest.mark.parametrize(
    "method, path, need",
    [
        ("POST", "/v2/models/m/infer", Need("predict", "m")),
        ("POST", "/v2/models/m/versions/1/infer", Need("predict", "m")),
        ("POST", "/v1/models/m:predict", Need("predict", "m")),
        ("POST", "/models/m/predict", Need("predict", "m")),
        ("GET", "/predict/a/b\nc", Need("predict", None, in_query=True)),
        ("GET", "/v2/models/m/stream", Need("predict", "m")),
        ("GET", "/v2/models/m", Need("describe", "m")),
        ("GET", "/v2/models/stats", Need("describe", None)),
        ("HEAD", "/v2/models/m/versions/3/ready", Need("describe", "m")),
        ("GET", "/v2/models/m/bundle/features.yaml", Need("read", "m")),
        ("GET", "/asyncapi.json", Need("read", None)),
        ("GET", "/records", Need("read", None, in_query=True)),
        ("GET", "/records/a/b", Need("read", None, in_query=True)),
        ("DELETE", "/records/a", Need("write", None, in_query=True)),
        ("POST", "/records:import", Need("write", None, in_query=True)),
        ("POST", "/v2/repository/models/m/load", Need("admin", "m")),
        ("POST", "/v2/repository/index", Need("admin", None)),
        ("GET", "/v2/repository/index", UNKNOWN),
        ("PATCH", "/records/a", UNKNOWN),
        ("POST", "/v2/models/m", UNKNOWN),
        ("GET", "/anything/else", UNKNOWN),
        ("GET", "//v2/models/m", UNKNOWN),
        ("POST", "/v2/models/m/infer/", UNKNOWN),
        ("GET", "/v2/models/a/b", UNKNOWN),
    ],
)
def test_what_a_path_needs(method: str, path: str, need: Need) -> None:
    assert need_of(method, path) == need


def test_only_reading_health_and_metrics_is_open() -> None:
    assert all(is_open(method, path) for path in ("/healthz", "/metrics", "/v2/health/ready") for method in ("GET", "HEAD"))
    assert not any(is_open("POST", path) for path in ("/healthz", "/metrics", "/"))
    assert not any(is_open("GET", path) for path in ("/metrics/", "/docs", "/openapi.json", "/v2", "/status", "/healthz/x"))


def test_a_hot_path_is_read_as_it_was_sent() -> None:
    assert need_of_hot(b"/v2/models/a%2Fb/infer") == Need("predict", "a/b")
    assert need_of_hot(b"/predict/x%2Fy") == Need("predict", None, in_query=True)
    assert need_of_hot(b"/else/where") is UNKNOWN


@pytest.mark.parametrize(
    "query, model", [(b"", None), (b"data=false", None), (b"model=a%20b", "a b"), (b"model=", ""), (b"m%6fdel=x", "x")]
)
def test_the_model_of_a_query(query: bytes, model: str | None) -> None:
    assert model_in(query) == model


def test_two_models_in_a_query_are_refused() -> None:
    assert model_in(b"model=a&model=a") == "a"
    with pytest.raises(InvalidInput, match="expected one model"):
        model_in(b"model=mine&model=theirs")
