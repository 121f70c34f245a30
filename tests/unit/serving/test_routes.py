"""The table of hot routes: what it finds, what it does not, and that callers cannot fill it."""

from penstock.serving.routes import HotRoute, HotRoutes


def handler(exchange) -> None: ...


def other(exchange) -> None: ...


TABLE = [
    HotRoute("POST", "/v2/models/{model}/infer", handler),
    HotRoute("POST", "/v2/models/{model}/versions/{version}/infer", handler),
    HotRoute("POST", "/v1/models/{model}:predict", other),
    HotRoute("GET", "/predict/{record}", other),
    HotRoute("GET", "/exact", other),
]


def test_finds_by_method_and_template_with_decoded_parameters():
    routes = HotRoutes(TABLE)
    for _ in range(2):
        assert routes.find(b"POST", b"/v2/models/m/infer") == (handler, ("m",))
        assert routes.find(b"POST", b"/v2/models/a%2Fb%20c/versions/7/infer") == (handler, ("a/b c", "7"))
        assert routes.find(b"POST", b"/v1/models/m:predict") == (other, ("m",))
        assert routes.find(b"GET", b"/exact") == (other, ())


def test_does_not_find_what_only_looks_like_it():
    routes = HotRoutes(TABLE)
    for method, path in (
        (b"GET", b"/v2/models/m/infer"),
        (b"PUT", b"/exact"),
        (b"POST", b"/v2/models//infer"),
        (b"POST", b"/v2/models/a/b/infer"),
        (b"POST", b"/v2/models/m/infer/"),
        (b"POST", b"/v2/models/m/inferx"),
        (b"GET", b"/exact\n"),
        (b"GET", b""),
    ):
        assert routes.find(method, path) is None


def test_remembers_a_bounded_number_of_paths():
    routes = HotRoutes(TABLE)
    for number in range(10_000):
        assert routes.find(b"GET", b"/predict/%d" % number) == (other, (str(number),))
    assert sum(len(seen) for seen in routes._seen.values()) <= 2048
    assert routes.find(b"GET", b"/predict/5") == (other, ("5",))


def test_the_first_route_that_fits_wins_also_over_another_table():
    routes = HotRoutes([HotRoute("POST", "/v1/models/{model}:predict", handler)])
    routes.extend(HotRoutes(TABLE))
    assert routes.find(b"POST", b"/v1/models/m:predict") == (handler, ("m",))
    assert routes.find(b"GET", b"/exact") == (other, ())


def test_body_limits_by_prefix():
    routes = HotRoutes()
    routes.limit_body("/records:import", 1000)
    merged = HotRoutes()
    merged.extend(routes)
    assert merged.body_limit(b"/records:import", 10) == 1000
    assert merged.body_limit(b"/records", 10) == 10


def test_documentation_lists_path_parameters():
    route = HotRoute("POST", "/a/{b}/{c}", handler, openapi={"requestBody": {}})
    assert [parameter["name"] for parameter in route.documentation()["parameters"]] == ["b", "c"]
    assert "requestBody" in route.documentation()


def test_paths_that_callers_make_up_do_not_fill_the_memory():
    routes = HotRoutes(TABLE)
    for number in range(3000):
        assert routes.find(b"POST", b"/v2/models/%s%d/infer" % (b"m" * 20_000, number)) is not None
    assert sum(len(path) for paths in routes._seen.values() for path in paths) < 4 << 20
