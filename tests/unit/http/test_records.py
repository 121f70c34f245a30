"""The `/records` resource over a store in memory."""

import asyncio
import base64
import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from penstock.errors import PenstockError
from penstock.features.spec import Feature, FeatureSet, FeatureSpec, Missing, Record, StoreLayout, ViewLayout
from penstock.serving.routes import HotRoutes
from penstock.serving.status import error_response
from penstock_transformer.http.record_set import event_time_of
from penstock_transformer.http.records import allow_imports, records_router
from penstock_transformer.memory_store import MemoryStore
from penstock_transformer.plan import plan_of

VALUES = {
    "distance": "double",
    "carrier": "string",
    "stops": "int32",
    "night": "bool",
    "leaves": "unix_timestamp",
    "picture": "bytes",
}


def spec(keys: dict[str, str]) -> FeatureSpec:
    feature = Feature("distance", "flights", "distance", "float64", Missing("keep"), ())
    sets = {"flights": FeatureSet("flights", "flights", {name: name for name in keys})}
    layout = StoreLayout("p", 3, {"flights": ViewLayout(keys, VALUES)})
    return FeatureSpec((feature,), {"x": ("distance",)}, sets, Record("flights", next(iter(keys))), layout)


class Http:
    """Requests to an application in this process, one event loop each."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://test") as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    def put(self, path: str, **more: Any) -> httpx.Response:
        return self.request("PUT", path, **more)

    def delete(self, path: str) -> httpx.Response:
        return self.request("DELETE", path)


def serve(transformer: Any, keys: dict[str, str]) -> Http:
    made = spec(keys)
    assert made.store is not None
    transformer.row_plan = plan_of(made)
    transformer.feature_store = MemoryStore(made.store)
    app = FastAPI()
    app.include_router(records_router(transformer))

    @app.exception_handler(PenstockError)
    async def fail(request: Request, error: PenstockError) -> Response:
        status, body, content_type, _ = error_response(error, request.url.path.encode())
        return Response(body, status, media_type=content_type.decode())

    return Http(app)


@pytest.fixture
def http(transformer: Any) -> Http:
    return serve(transformer, {"flight_id": "string"})


FULL = {
    "distance": 1.5, "carrier": "AA", "stops": 2, "night": True,
    "leaves": 86400.0, "picture": base64.b64encode(b"\xff\x00").decode(),
}  # fmt: skip


def test_a_record_is_stored_under_its_id_and_found_again(http: Http) -> None:
    made = http.post("/records", json={"id": "UA 1/2", "values": FULL, "event_time": "2026-01-01T00:00:00Z"})
    assert (made.status_code, made.headers["location"]) == (201, "/records/UA%201%2F2")
    assert made.json() == {"id": "UA 1/2", "event_time": "2026-01-01T00:00:00Z", "values": FULL}
    assert http.get("/records/UA 1").status_code == 404
    assert http.put("/records/x", json=made.json() | {"id": "x"}).status_code == 201


@pytest.mark.parametrize("identity", ["a/b", "/a", "a/", "a//b", "a%2Fb", "x:import", "a?b#c", "ü/é"])
def test_an_id_of_any_printable_characters_is_reached_by_its_address(http: Http, identity: str) -> None:
    made = http.post("/records", json={"id": identity, "values": {"stops": 1}})
    where = made.headers["location"]
    assert http.get(where).json()["id"] == identity
    assert http.put(where, json={"values": {"stops": 2}}).status_code == 200
    assert http.delete(where).status_code == 204
    assert http.get(where).status_code == 404


@pytest.mark.parametrize("identity", ["a\r\nb", "a\n", "\x00", "\x7f", "\x85"])
def test_control_characters_in_an_id_are_refused_and_reach_no_other_record(http: Http, identity: str) -> None:
    where = f"/records/{quote(identity, safe='')}"
    http.put("/records/a", json={"values": {}})
    answer = http.post("/records", json={"id": identity, "values": {}})
    assert (answer.status_code, answer.json()["field"]) == (400, "id")
    answer = http.put(where, json={"values": {}})
    assert (answer.status_code, answer.json()["field"]) == (400, "record_id")
    answer = send_csv(http, f'flight_id\n"{identity}"\n')
    assert (answer.status_code, answer.json()["field"]) == (400, "rows[0].flight_id")
    assert http.get(where).status_code == 404
    assert http.delete(where).status_code == 404
    assert http.get("/records/a").status_code == 200


def test_an_id_is_made_if_absent(http: Http) -> None:
    made = http.post("/records", json={"values": {"carrier": "AA"}})
    assert made.status_code == 201
    found = http.get(made.headers["location"]).json()
    assert found["values"] == {name: "AA" if name == "carrier" else None for name in VALUES}
    assert found["event_time"].startswith("20")


def test_ids_of_integer_keys_are_integers(transformer: Any) -> None:
    http = serve(transformer, {"flight_id": "int64"})
    assert isinstance(http.post("/records", json={"values": {}}).json()["id"], int)
    assert http.post("/records", json={"id": 7, "values": {}}).status_code == 201
    assert http.post("/records", json={"id": "8", "values": {}}).json()["id"] == 8
    assert http.get("/records/7").json()["id"] == 7
    answer = http.get("/records/seven")
    assert (answer.status_code, answer.json()["field"]) == (400, "record_id")
    assert http.post("/records", json={"id": True, "values": {}}).json()["field"] == "id"


def test_keys_of_other_types_are_not_made_up(transformer: Any) -> None:
    http = serve(transformer, {"flight_id": "int32"})
    assert http.post("/records", json={"values": {}}).json()["field"] == "id"


def test_an_id_that_is_taken_is_a_conflict_and_put_replaces_it(http: Http) -> None:
    assert http.post("/records", json={"id": "a", "values": {"stops": 1}}).status_code == 201
    answer = http.post("/records", json={"id": "a", "values": {"stops": 2}})
    assert (answer.status_code, answer.json()["field"]) == (409, "id")
    answer = http.put("/records/a", json={"values": {"carrier": "AA"}})
    assert (answer.status_code, answer.json()["values"]["stops"]) == (200, None)


def test_an_older_record_never_overwrites_a_newer_one(http: Http) -> None:
    http.put("/records/a", json={"values": {"stops": 1}, "event_time": 2000})
    answer = http.put("/records/a", json={"values": {"stops": 2}, "event_time": 1999.5})
    assert (answer.status_code, answer.json()["field"]) == (409, "event_time")
    assert "a newer record, as of 1970-01-01T00:33:20Z; give a later event_time" in answer.json()["detail"]
    assert http.get("/records/a").json()["values"]["stops"] == 1


def test_what_get_gives_put_takes_again(http: Http) -> None:
    for body in ({"values": FULL}, {"values": FULL, "event_time": "2026-01-01T00:00:00.123456Z"}, {"values": {}}):
        http.delete("/records/a")
        assert http.put("/records/a", json=body).status_code == 201
        found = http.get("/records/a").json()
        again = http.put("/records/a", json=found)
        assert (again.status_code, again.json()) == (200, found)
    answer = http.put("/records/a", json=found | {"values": {"stops": 9}})
    assert (answer.status_code, answer.json()["field"]) == (409, "event_time")
    assert "other values as of this very time; give a later event_time" in answer.json()["detail"]
    assert http.put("/records/a", json={"values": {"stops": 9}}).status_code == 200


def test_a_time_more_than_a_day_ahead_is_refused(http: Http) -> None:
    soon, late = time.time() + 3600, time.time() + 100_000
    assert http.put("/records/a", json={"values": {}, "event_time": soon}).status_code == 201
    for answer in (
        http.put("/records/a", json={"values": {}, "event_time": late}),
        http.post("/records", json={"values": {}, "event_time": "2999-01-01T00:00:00Z"}),
    ):
        assert (answer.status_code, answer.json()["field"]) == (400, "event_time")
    answer = send_csv(http, f"flight_id,event_time\na,{late}\n")
    assert (answer.status_code, answer.json()["field"]) == (400, "rows[0].event_time")


def test_a_record_is_removed_once(http: Http) -> None:
    http.put("/records/a", json={"values": {}})
    assert http.delete("/records/a").status_code == 204
    assert http.delete("/records/a").status_code == 404
    assert http.get("/records/a").status_code == 404


def test_records_are_listed_a_page_at_a_time(http: Http) -> None:
    for name in "abcde":
        http.put(f"/records/{name}", json={"values": {"carrier": name}})
    seen: list[str] = []
    cursor = None
    while True:
        page = http.get("/records", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [record["values"]["carrier"] for record in page["records"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(seen) == list("abcde")
    assert http.get("/records", params={"limit": 0}).status_code == 422


@pytest.mark.parametrize(
    "body, field",
    [
        ("{", "body"),
        ("[]", "body"),
        ("{}", "values"),
        ('{"values": []}', "values"),
        ('{"values": {}, "colour": 1}', "colour"),
        ('{"values": {"colour": 1}}', "values.colour"),
        ('{"values": {"distance": "far"}}', "values.distance"),
        ('{"values": {"carrier": 3}}', "values.carrier"),
        ('{"values": {"stops": 3000000000}}', "values.stops"),
        ('{"values": {"stops": 1.5}}', "values.stops"),
        ('{"values": {"night": 1}}', "values.night"),
        ('{"values": {"leaves": "soon"}}', "values.leaves"),
        ('{"values": {"picture": "!"}}', "values.picture"),
        ('{"values": {}, "event_time": "soon"}', "event_time"),
        ('{"values": {}, "event_time": -1}', "event_time"),
        ('{"values": {}, "event_time": true}', "event_time"),
        ('{"id": "other", "values": {}}', "id"),
        ('{"id": {}, "values": {}}', "id"),
    ],
)
def test_a_wrong_record_is_a_400_that_names_the_field(http: Http, body: str, field: str | None) -> None:
    answer = http.put("/records/a", content=body)
    assert (answer.status_code, answer.json().get("field")) == (400, field)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_over_the_limit_is_a_413(http: Http) -> None:
    assert http.put("/records/a", content=b"x" * 1_100_000).status_code == 413


def test_a_store_that_is_away_is_a_503(http: Http, transformer: Any) -> None:
    transformer.feature_store.away = True
    assert http.get("/records/a").status_code == 503


def test_a_model_without_records_says_so(http: Http, transformer: Any) -> None:
    transformer.feature_store = None
    answer = http.get("/records/a")
    assert (answer.status_code, answer.json()["field"]) == (404, "model")
    assert "record" in answer.json()["detail"]
    assert http.get("/records/a", params={"model": "nobody"}).status_code == 404


def test_keys_of_several_parts_have_no_record_ids(transformer: Any) -> None:
    http = serve(transformer, {"flight_id": "string", "day": "int64"})
    assert "several parts" in http.get("/records/a").json()["detail"]


def send_csv(http: Http, body: str | bytes, content_type: str = "text/csv") -> Any:
    return http.post("/records:import", content=body, headers={"content-type": content_type})


def test_an_import_writes_every_row(http: Http) -> None:
    body = "flight_id,distance,carrier,event_time\n" + "".join(f"f{i},{i}.5,AA,{1000 + i}\n" for i in range(1203))
    answer = send_csv(http, body)
    assert (answer.status_code, answer.json()) == (200, {"written": 1203, "unchanged": 0, "refused": 0, "rejected": []})
    found = http.get("/records/f7").json()
    assert (found["values"]["distance"], found["event_time"]) == (7.5, "1970-01-01T00:16:47Z")
    assert send_csv(http, body).json()["unchanged"] == 1203


def test_bad_rows_of_an_import_are_told_by_line_and_the_others_are_written(http: Http) -> None:
    body = 'flight_id,stops\na,1\nb,many\nc,3000000000\n,4\nd\n"e"x,5\n\xff,6\ng,7'.encode("latin-1")
    answer = send_csv(http, body)
    document = answer.json()
    assert answer.status_code == 400
    assert (document["written"], document["refused"], document["field"]) == (2, 6, "rows[1].stops")
    assert [(bad["row"], bad["line"], bad["field"]) for bad in document["rejected"]] == [
        (1, 3, "rows[1].stops"),
        (2, 4, "rows[2].stops"),
        (3, 5, "rows[3].flight_id"),
        (4, 6, "rows[4]"),
        (5, 7, "rows[5]"),
        (6, 8, "rows[6].flight_id"),
    ]
    assert "line 3: expected int32" in document["rejected"][0]["reason"]
    assert http.get("/records/g").json()["values"]["stops"] == 7


def test_only_the_first_refused_rows_are_shown(http: Http) -> None:
    document = send_csv(http, "flight_id,stops\n" + "a,x\n" * 150).json()
    assert (document["refused"], len(document["rejected"])) == (150, 100)


@pytest.mark.parametrize(
    "body, content_type, status, field",
    [
        ("", "text/csv", 400, "header"),
        ("stops\n1\n", "text/csv", 400, "header"),
        ("flight_id,colour\na,1\n", "text/csv", 400, "header[1]"),
        ("flight_id,flight_id\na,1\n", "text/csv", 400, "header[1]"),
        ('"flight_id"x\na\n', "text/csv", 400, "header"),
        ("flight_id\n" + '"' + "x\n" * 600_000, "text/csv", 400, "body"),
        ("{}", "application/json", 415, "Content-Type"),
    ],
)
def test_an_import_that_cannot_begin_is_refused_whole(http: Http, body: str, content_type: str, status: int, field: str) -> None:
    answer = send_csv(http, body, content_type)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_imports_may_be_larger_than_other_bodies() -> None:
    routes = HotRoutes()
    allow_imports(routes)
    assert routes.body_limit(b"/records:import", 5) > 2**32
    assert routes.body_limit(b"/records", 5) == 5


def test_event_times_are_now_unless_given() -> None:
    assert event_time_of(None) > 1.7e9
    assert event_time_of("1970-01-01T00:00:01.5+00:00") == 1.5
