"""Records over the wire, in Feast's SQLite layout."""

import time
from collections.abc import Iterator

import httpx
import pytest

QUERY = {"model": "flights"}


@pytest.fixture
def records(http: httpx.Client) -> Iterator[httpx.Client]:
    """The client, and no record left behind."""
    yield http
    while found := http.get("/records", params=QUERY).json()["records"]:
        for record in found:
            assert http.delete(f"/records/{record['id']}", params=QUERY).status_code == 204


def test_a_record_from_its_making_to_its_end(records: httpx.Client) -> None:
    made = records.post("/records", params=QUERY, json={"values": {"distance": 1.5, "carrier": "é", "leaves": 60}})
    assert made.status_code == 201
    where = made.headers["location"]
    assert records.get(where).json() == made.json()
    identity = made.json()["id"]
    assert records.get(f"/predict/{identity}", params=QUERY).status_code == 200
    again = records.put(where, json=made.json())
    assert (again.status_code, again.json()) == (200, made.json())
    soon = time.time() + 3600
    changed = records.put(f"/records/{identity}", params=QUERY, json={"values": {"distance": 2}, "event_time": soon})
    assert changed.json()["values"] == {"distance": 2.0, "carrier": None, "tailnum": None, "leaves": None}
    assert records.put(f"/records/{identity}", params=QUERY, json={"values": {}}).status_code == 409
    assert records.delete(f"/records/{identity}", params=QUERY).status_code == 204
    assert records.get(where).status_code == 404
    assert records.get(f"/predict/{identity}", params=QUERY).status_code == 404


def test_an_id_with_a_slash_is_reached_by_its_address(records: httpx.Client) -> None:
    made = records.post("/records", params=QUERY, json={"id": "a/b", "values": {"distance": 1}})
    assert made.headers["location"].startswith("/records/a%2Fb")
    assert records.get("/records/a%2Fb", params=QUERY).json() == made.json()
    assert records.get("/predict/a%2Fb", params=QUERY).status_code == 200
    assert records.put("/records/a%2Fb", params=QUERY, json={"values": {"distance": 2}}).json()["values"]["distance"] == 2
    assert records.delete("/records/a%2Fb", params=QUERY).status_code == 204
    assert records.get("/records/a%2Fb", params=QUERY).status_code == 404


def test_an_id_with_a_line_end_is_refused(records: httpx.Client) -> None:
    answer = records.post("/records", params=QUERY, json={"id": "a\r\nb", "values": {"distance": 1}})
    assert (answer.status_code, answer.json()["field"]) == (400, "id")
    assert records.put("/records/a%0D%0Ab", params=QUERY, json={"values": {"distance": 1}}).status_code == 400
    assert records.get("/records/a%0D%0Ab", params=QUERY).status_code == 404


def test_an_import_of_many_rows_streams(records: httpx.Client) -> None:
    count = 700

    def body() -> Iterator[bytes]:
        yield b"flight_id,distance,carrier,tailnum\r\n"
        for at in range(count):
            yield f'f{at},{at},"A ""{at}""",N{at}\r\n'.encode()

    answer = records.post("/records:import", params=QUERY, content=body(), headers={"content-type": "text/csv"})
    assert (answer.status_code, answer.json()["written"]) == (200, count)
    assert records.get("/records/f77", params=QUERY).json()["values"]["carrier"] == 'A "77"'
    seen, cursor = set(), None
    while True:
        page = records.get("/records", params=QUERY | {"limit": 200} | ({"cursor": cursor} if cursor else {})).json()
        seen |= {record["id"] for record in page["records"]}
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == {f"f{at}" for at in range(count)}


def test_bad_rows_are_told_and_the_others_are_there(records: httpx.Client) -> None:
    body = "flight_id,distance\na,1\nb,far\nc,3\n"
    answer = records.post("/records:import", params=QUERY, content=body, headers={"content-type": "text/csv"})
    assert (answer.status_code, answer.json()["written"], answer.json()["field"]) == (400, 2, "rows[1].distance")
    assert records.get("/records/c", params=QUERY).status_code == 200
