"""Bad rows, records, forms and images over the wire: each a 4xx that names the field and what was expected."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

PREDICT = "/models/flights/predict"
PICTURES = "/models/pictures/predict"
Check = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    "body, field, words",
    [
        ("", "body", "empty body"),
        ("{", "body", "expected JSON"),
        ("\x00\xff", "body", "expected JSON"),
        ('{"rows": [{"distance": 1},]}', "body", "expected JSON"),
        ('{"rows": [{"distance": NaN}]}', "body", "expected JSON"),
        ('{"rows": [{"distance": Infinity}]}', "body", "expected JSON"),
        ('{"rows": [{"distance": 01}]}', "body", "expected JSON"),
        ("[]", "body", "expected object"),
        ('"rows"', "body", "expected object"),
        ("{}", "rows", "missing"),
        ('{"rows": 3}', "rows", "expected array, got int"),
        ('{"rows": [[]]}', "rows[0]", "expected object, got array"),
        ('{"rows": [{}], "extra": 1}', "extra", "unknown field"),
        ('{"rows": [{"distance": 1}], "options": {"data": "no"}}', "options.data", "true or false"),
        ('{"rows": [{"distance": "far"}]}', "rows[0].distance", "expected a number"),
        ('{"rows": [{"distance": 1}, {"distance": true}]}', "rows[1].distance", "expected a number"),
        ('{"rows": [{"distance": [1]}]}', "rows[0].distance", "expected a number"),
        ('{"rows": [{"distance": {}}]}', "rows[0].distance", "expected a number"),
        ('{"rows": [{"distance": 1e39}]}', "rows[0].distance", "float32"),
        ('{"rows": [{"distance": 1e999}]}', "rows[0].distance", "out of range"),
        ('{"rows": [{"distance": ' + "9" * 400 + "}]}", "rows[0].distance", "expected a number"),
        ('{"rows": [{"distance": 1, "carrier": 3}]}', "rows[0].carrier", "expected text"),
        ('{"rows": [{"distance": 1, "stops": 1.5}]}', "rows[0].stops", "expected an integer"),
        ('{"rows": [{"distance": 1, "stops": 2147483648}]}', "rows[0].stops", "32 bits"),
        ('{"rows": [{"distance": 1, "stops": "1"}]}', "rows[0].stops", "expected an integer"),
        ('{"rows": [{"distance": 1, "leaves": "tomorrow"}]}', "rows[0].leaves", "expected a time"),
        ('{"rows": [{"distance": 1, "leaves": 1e300}]}', "rows[0].leaves", "expected a time"),
        ('{"rows": [{"distance": 1, "tailnum": 3}]}', "rows[0].tailnum", "expected a key of type string"),
        ('{"rows": [{}]}', "rows[0].distance", "missing; expected a float32"),
        ('{"rows": [{"distance": 1}, {"distance": null}]}', "rows[1].distance", "missing; expected a float32"),
        ('{"rows": [{"distance": 1, "colour": 1}]}', "rows[0].colour", "unknown feature; expected one of"),
        ('{"rows": [{"distance": 1, "seats": 1}]}', "rows[0].seats", "read from the store"),
        ('{"rows": [{"distance": 1, "carrier": ' + "[" * 200_000 + "]" * 200_000 + "}]}", "body", "nested too deeply"),
        ('{"rows": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}", "body", ""),
    ],
)
def test_rows_that_are_wrong(http: httpx.Client, refused: Check, body: str, field: str | None, words: str) -> None:
    if body.startswith('{"rows": {"a"'):
        assert http.post(PREDICT, content=body).status_code == 400
        return
    refused(http.post(PREDICT, content=body.encode("latin-1")), 400, words, field=field)


@pytest.mark.parametrize(
    "body, field, words",
    [
        ("", "header", "empty body"),
        ("distance,colour\n1,2\n", "header[1]", "unknown column"),
        ("distance,distance\n1,2\n", "header[1]", "twice"),
        ("distance,stops\n1,2\n1,2\n1,2\nfar,2\n", "rows[3].distance", 'line 5: expected float32, got "far"'),
        ("distance,stops\n1,2\n1\n", "rows[1]", "line 3: expected 2 cells, got 1"),
        ('distance\n"1\n', "body", "broken CSV"),
        ("distance,carrier\n1,\xff\n", None, "UTF-8"),
        ("distance\n\n1\n,\n", "rows[1]", "line 4: expected 1 cells, got 2"),
        ("distance\nnan\n", "rows[0].distance", "missing; expected a float32"),
        ("flight_id\nnobody\n", "rows[0].flight_id", "there is no record"),
        ("carrier\nUA\n", "rows[0].distance", "missing"),
    ],
)
def test_csv_with_a_broken_row(http: httpx.Client, refused: Check, body: str, field: str | None, words: str) -> None:
    answer = http.post(PREDICT, content=body.encode("latin-1"), headers={"content-type": "text/csv"})
    refused(answer, 400, words, field=field)


def test_a_broken_row_far_into_a_large_csv(http: httpx.Client, refused: Check) -> None:
    body = "distance\n" + "1\n" * 20_000 + "far\n"
    answer = http.post(PREDICT, content=body, headers={"content-type": "text/csv"})
    refused(answer, 400, "line 20002: expected float32", field="rows[20000].distance")


@pytest.mark.parametrize(
    "content_type, status, field",
    [
        ("text/html", 415, "Content-Type"),
        ("multipart/form-data", 400, "Content-Type"),
        ("multipart/form-data; boundary=x", 400, "body"),
        ("image/png", 415, "Content-Type"),
    ],
)
def test_forms_that_are_not_read(http: httpx.Client, refused: Check, content_type: str, status: int, field: str) -> None:
    refused(http.post(PREDICT, content=b"--y\r\n\r\n", headers={"content-type": content_type}), status, field=field)


def test_fields_of_a_form(http: httpx.Client, refused: Check) -> None:
    refused(http.post(PREDICT, files={"distance": (None, "far")}), 400, "expected float32", field="rows[0].distance")
    refused(http.post(PREDICT, files={"distance": (None, "nan")}), 400, "missing", field="rows[0].distance")
    refused(http.post(PREDICT, files={"colour": (None, "red")}), 400, "unknown field", field="colour")


def test_a_compressed_body(http: httpx.Client, refused: Check) -> None:
    answer = http.post(PREDICT, content=zlib.compress(b'{"rows": []}'), headers={"content-encoding": "deflate"})
    refused(answer, 415, "content encoding", field="Content-Encoding")


def test_a_body_over_the_limit(http: httpx.Client, refused: Check) -> None:
    large = b'{"rows": [{"carrier": "' + b"x" * 2_000_000 + b'"}]}'
    refused(http.post(PREDICT, content=large), 413, "at most 2000000 bytes", field="body")

    def parts() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 60_000

    refused(http.post(PREDICT, content=parts()), 413, "at most 2000000 bytes", field="body")


@pytest.mark.parametrize(
    "header, value",
    [
        ("Penstock-Timeout-Ms", "soon"),
        ("Penstock-Timeout-Ms", "-1"),
        ("Penstock-Priority", "high"),
        ("Penstock-Expect-Bundle", "sha256:0"),
    ],
)
def test_headers_that_are_wrong(http: httpx.Client, refused: Check, header: str, value: str) -> None:
    refused(http.post(PREDICT, json={"rows": [{"distance": 1}]}, headers={header: value}), 400, "expected", field=header)


def test_models_and_paths_that_are_not_there(http: httpx.Client, refused: Check) -> None:
    refused(http.post("/models/nobody/predict", json={"rows": []}), 404, "nobody", "flights", field="model")
    refused(
        http.post("/models/nobody/predict", content="a\n1\n", headers={"content-type": "text/csv"}), 404, "nobody", field="model"
    )
    refused(http.get("/nowhere"), 404, "/docs")
    assert http.get(PREDICT).status_code == 405


@pytest.mark.parametrize(
    "path", ["/predict/nobody", "/predict/%F0%9F%98%80", "/predict/%ff", "/predict/" + "x" * 5000, "/predict/..%2f..%2fetc"]
)
def test_a_record_id_that_does_not_exist(http: httpx.Client, refused: Check, path: str) -> None:
    refused(http.get(path, params={"model": "flights"}), 404, "there is no record", field="record")


def test_a_prediction_by_record_that_is_wrongly_asked(http: httpx.Client, refused: Check) -> None:
    refused(http.get("/predict/x"), 400, "?model=", "flights", "pictures", field="model")
    refused(http.get("/predict/x?model=flights&data=perhaps"), 400, "true or false", field="options.data")
    refused(http.get("/predict/x?model=flights&colour=red"), 400, "unknown option", field="options.colour")
    assert http.get("/predict/x?model=pictures").status_code == 404


def test_a_record_without_what_the_model_needs(http: httpx.Client, refused: Check) -> None:
    http.put("/records/empty?model=flights", json={"values": {}})
    refused(http.get("/predict/empty?model=flights"), 400, "missing; expected a float32", field="rows[0].distance")


@pytest.mark.parametrize(
    "body, field, words",
    [
        ("{", "body", "expected JSON"),
        ("[" * 200_000, "body", "nested too deeply"),
        ("{}", "values", "missing"),
        ('{"values": {"distance": "far"}}', "values.distance", "expected a value of type double"),
        ('{"values": {"distance": NaN}}', "body", "expected JSON"),
        ('{"values": {"colour": 1}}', "values.colour", "unknown column"),
        ('{"values": {"carrier": "\\ud800"}}', "body", "expected JSON"),
        ('{"values": {"leaves": "soon"}}', "values.leaves", "ISO 8601"),
        ('{"values": {"leaves": 1' + "0" * 30 + "}}", "values.leaves", "years 1 to 9999"),
        ('{"values": {}, "event_time": "soon"}', "event_time", "ISO 8601"),
        ('{"id": 3, "values": {}}', "id", "expected an id of type string"),
        ('{"id": "", "values": {}}', "id", "expected an id of type string"),
    ],
)
def test_records_that_are_wrong(http: httpx.Client, refused: Check, body: str, field: str | None, words: str) -> None:
    refused(http.post("/records?model=flights", content=body), 400, words, field=field)


def test_records_that_are_not_there(http: httpx.Client, refused: Check) -> None:
    refused(http.get("/records/nobody?model=flights"), 404, "no record", field="record_id")
    refused(http.delete("/records/nobody?model=flights"), 404, "no record", field="record_id")
    refused(http.get("/records/x?model=pictures"), 404, "no records", field="model")
    refused(http.get("/records?model=flights&cursor=zz"), 400, "cursor", field="cursor")
    assert http.get("/records?model=flights&limit=0").status_code == 400
    assert http.get("/records?model=flights&limit=many").status_code == 400


def test_an_import_with_broken_rows(http: httpx.Client, refused: Check) -> None:
    body = "flight_id,distance\na,1\nb,far\n,3\nc\n"
    answer = http.post("/records:import?model=flights", content=body, headers={"content-type": "text/csv"})
    document = refused(answer, 400, "3 rows were refused, 1 written", "line 3: expected double", field="rows[1].distance")
    assert [(bad["line"], bad["field"]) for bad in document["rejected"]] == [
        (3, "rows[1].distance"),
        (4, "rows[2].flight_id"),
        (5, "rows[3]"),
    ]
    answer = http.post("/records:import?model=flights", content="distance\n1\n", headers={"content-type": "text/csv"})
    refused(answer, 400, "flight_id", field="header")


def png(width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of a few kilobytes that claims to be as large as asked, and whose data would really fill a million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),)
    end = ((b"IDAT", zlib.compress(bytes(1_000_000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in header + more + end)


def photo() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("size", [(60_000, 60_000), (9_000, 9_000), (2_000_000_000, 1), (12_000, 12_000)])
def test_an_image_bomb_raw_as_form_and_as_base64(http: httpx.Client, refused: Check, size: tuple[int, int]) -> None:
    data = png(*size)
    for answer in (
        http.post(PICTURES, content=data, headers={"content-type": "image/png"}),
        http.post(PICTURES, files={"picture": ("bomb.png", data)}),
        http.post(PICTURES, json={"rows": [{"picture": base64.b64encode(data).decode()}]}),
    ):
        refused(answer, 413, "limit", field="rows[0].picture")


def test_an_image_bomb_by_the_protocols_and_in_a_csv(http: httpx.Client, refused: Check) -> None:
    data = png(60_000, 60_000)
    text = base64.b64encode(data).decode()
    tensor = {"name": "picture", "datatype": "BYTES", "shape": [1]}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(data) + 4}}]}).encode()
    packed = head + struct.pack("<I", len(data)) + data
    infer, length = "/v2/models/pictures/infer", {"inference-header-content-length": str(len(head))}
    for answer in (
        http.post("/v1/models/pictures:predict", json={"instances": [{"picture": text}]}),
        http.post(infer, json={"inputs": [tensor | {"data": [text]}]}),
        http.post(infer, content=packed, headers=length),
        http.post(PICTURES, content=f"picture\n{text}\n", headers={"content-type": "text/csv"}),
    ):
        assert (answer.status_code, "rows[0].picture" in answer.text) == (413, True), answer.text


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_an_image_with_a_bomb_beside_its_pixels(http: httpx.Client, refused: Check, kind: bytes) -> None:
    """A comment or a colour profile of 200 MB, packed into some kilobytes."""
    data = png(4, 4, (kind, b"k\0\0" + zlib.compress(bytes(200_000_000))))
    answer = http.post(PICTURES, content=data, headers={"content-type": "image/png"})
    refused(answer, 400, "not an image that can be read", field="rows[0].picture")


def test_images_that_are_too_much_together(http: httpx.Client, refused: Check) -> None:
    data = base64.b64encode(png(8_000, 8_000)).decode()
    refused(http.post(PICTURES, json={"rows": [{"picture": data}] * 30}), 413, "a request", field="rows[1].picture")


def test_csv_of_blank_lines(http: httpx.Client, refused: Check) -> None:
    answer = http.post(PREDICT, content="carrier\n" + "\n" * 1_900_000, headers={"content-type": "text/csv"})
    refused(answer, 413, "at most 100000 rows", field="rows")


@pytest.mark.parametrize(
    "data", [b"", b"no image", photo()[:-200], photo()[:20], b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"\xff" * 100]
)
def test_images_that_are_broken(http: httpx.Client, refused: Check, data: bytes) -> None:
    for answer in (
        http.post(PICTURES, content=data, headers={"content-type": "image/png"}),
        http.post(PICTURES, json={"rows": [{"picture": base64.b64encode(data).decode()}]}),
    ):
        refused(answer, 400, field="rows[0].picture")


@pytest.mark.parametrize(
    "value, words", [('"!!"', "base64"), ("3", "base64"), ("null", "missing"), ("[]", "base64"), ('"data:x;base64,!"', "base64")]
)
def test_images_that_are_none(http: httpx.Client, refused: Check, value: str, words: str) -> None:
    refused(http.post(PICTURES, content=f'{{"rows": [{{"picture": {value}}}]}}'), 400, words, field="rows[0].picture")


@pytest.mark.parametrize(
    "body, field, words",
    [
        ("{", "body", "expected JSON"),
        ("{}", "instances", "expected an array"),
        ('{"instances": 3}', "instances", "expected an array"),
        ('{"instances": [3]}', "instances[0]", "expected an object"),
        ('{"instances": [{"distance": 1}, {"distance": "far"}]}', "instances[1].distance", "expected a number"),
        ('{"instances": [{}]}', "instances[0].distance", "missing"),
        ('{"instances": [{"distance": null}]}', "instances[0].distance", "missing"),
        ('{"instances": [{"distance": NaN}]}', "body", "expected JSON"),
        ('{"instances": [{"flight_id": "nobody"}]}', "instances[0].flight_id", "there is no record"),
        ('{"instances": [{"colour": 1}]}', "instances[0].colour", "unknown feature"),
        ('{"instances": ' + "[" * 100_000 + "]" * 100_000 + "}", "body", "nest"),
    ],
)
def test_instances_that_are_wrong(http: httpx.Client, refused: Check, body: str, field: str, words: str) -> None:
    document = refused(http.post("/v1/models/flights:predict", content=body), 400)
    assert document["error"].startswith(field)
    assert words in document["error"] or words == "nest"


def test_one_bad_row_fails_nobody_else(http: httpx.Client, server: Any) -> None:
    """Good and bad requests in one pipeline, so that they meet in one batch: each gets its own answer."""
    from penstock.testing.raw_http import RawConnection, raw_request

    bodies = [
        b'{"rows": [{"distance": 1}]}',
        b'{"rows": [{"distance": "far"}]}',
        b'{"rows": [{}]}',
        b'{"rows": [{"distance": 2}]}',
    ] * 8
    with RawConnection(server.port) as connection:
        connection.send(*(raw_request("POST", PREDICT, body) for body in bodies))
        answers = [connection.answer() for _ in bodies]
    assert [answer.status for answer in answers] == [200, 400, 400, 200] * 8
    assert http.get("/v2/health/ready").status_code == 200
