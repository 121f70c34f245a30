"""The `/records` resource: the stored features of a record, as JSON and as CSV.

    {"id": …, "event_time": …, "values": {column: value}}

What GET gives PUT takes. With several models, `?model=` says whose records are meant.

An id may hold any character but control characters; in a path it is percent-encoded, `/` too, and is all that follows.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor, register_url_convertor

from penstock.errors import Conflict, InvalidInput, NotFound, UnsupportedType
from penstock.protocol.reading import read_object
from penstock.serving.asgi import read_body
from penstock.serving.routes import HotRoutes
from penstock.serving.status import PROBLEM, problem
from penstock_transformer.http.plane import PredictPlane, chosen_model
from penstock_transformer.http.record_docs import CREATE, IMPORT, PAGE, REPLACE, SHOW
from penstock_transformer.http.record_import import RecordImport
from penstock_transformer.http.record_set import RecordSet, event_time_of

_RECORD_BYTES = 1024 * 1024
_IMPORT_BYTES = 16 * 1024**3
_MEMBERS = {"id", "event_time", "values"}
_LARGEST_PAGE = 1000

Model = Annotated[str | None, Query(description="Whose records; needed where several models are served")]
RecordId = Annotated[str, Path(description="The value of the record's key")]


class _WholeRest(StringConvertor):
    """The rest of a decoded path, slashes and line ends with it: `path` stops at a line end, and would reach another record."""

    regex = r"[\s\S]+"


register_url_convertor("record_id", _WholeRest())
_RECORD = "/records/{record_id:record_id}"


def allow_imports(routes: HotRoutes) -> None:
    """Let bodies of imports, which are never held in memory, be as large as they are."""
    routes.limit_body("/records:import", _IMPORT_BYTES)


def records_router(transformer: PredictPlane) -> APIRouter:
    """The routes of `/records` over a transformer's feature store."""
    router = APIRouter(tags=["records"], route_class=Strict)
    routes = RecordRoutes(transformer)
    add = router.add_api_route
    add("/records", routes.create, methods=["POST"], summary="Store a record; an id is made if none is given",
        status_code=201, openapi_extra=CREATE)  # fmt: skip
    add("/records", routes.page, methods=["GET"], summary="All records, a page at a time", openapi_extra=PAGE)
    add("/records:import", routes.load, methods=["POST"], summary="Store the records of a CSV file", openapi_extra=IMPORT)
    add(_RECORD, routes.show, methods=["GET"], summary="A record", openapi_extra=SHOW)
    add(_RECORD, routes.replace, methods=["PUT"], summary="Store a record whole; columns that are not given are missing",
        openapi_extra=REPLACE)  # fmt: skip
    add(_RECORD, routes.remove, methods=["DELETE"], summary="Remove a record", status_code=204)
    return router


class Strict(APIRoute):
    """A route that refuses what it does not know in the query, as bodies are refused for what they should not have; and what is
    there twice, of which one would be passed over without a word."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        known = {field.alias for field in self.dependant.query_params}

        async def checked(request: Request) -> Response:
            for name in request.query_params:
                if name not in known:
                    raise InvalidInput(f"unknown; expected some of {', '.join(sorted(known))}", field=f"query.{name[:80]}")
                if len(request.query_params.getlist(name)) > 1:
                    raise InvalidInput("expected it once", field=f"query.{name[:80]}")
            return await handler(request)

        return checked


class RecordRoutes:
    """The endpoints."""

    def __init__(self, transformer: PredictPlane) -> None:
        self._transformer = transformer

    def _records_of(self, model: str | None) -> RecordSet:
        return RecordSet(self._transformer, chosen_model(self._transformer, model))

    async def create(self, request: Request, model: Model = None) -> Response:
        """`POST /records`."""
        records = self._records_of(model)
        document = _document(await read_body(request, _RECORD_BYTES))
        values, event_time = records.checked(document.get("values")), event_time_of(document.get("event_time"))
        given = document.get("id")
        key = records.new_key() if given is None else records.new_key_of(given)
        if given is not None and (await records.get([key]))[0] is not None:
            raise Conflict("there is a record with this id; PUT replaces it", field="id")
        await records.put(key, values, event_time)
        return await _stored(records, key, 201, {"location": _address(key, model)})

    async def page(
        self, model: Model = None, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=_LARGEST_PAGE)] = 100
    ) -> Response:
        """`GET /records`."""
        found, following = await self._records_of(model).page(cursor, limit)
        return _json({"records": [record.document() for record in found], "cursor": following})

    async def load(self, request: Request, model: Model = None) -> Response:
        """`POST /records:import`."""
        kind = request.headers.get("content-type", "text/csv").partition(";")[0].strip().lower()
        if kind != "text/csv":
            raise UnsupportedType(f"expected text/csv, got {kind[:80]!r}", field="Content-Type")
        report = await RecordImport(self._records_of(model)).run(request.stream())
        if not report.refused:
            return _json(report.document())
        first = report.rejected[0]
        detail = f"{report.refused} rows were refused, {report.written} written; the first: {first['reason']}"
        body = orjson.loads(problem(400, detail, "invalid_input", first["field"]))
        return Response(orjson.dumps(body | report.document()), 400, media_type=PROBLEM.decode())

    async def show(self, record_id: RecordId, model: Model = None) -> Response:
        """`GET /records/{id}`."""
        records = self._records_of(model)
        return await _stored(records, records.key(record_id, "record_id"), 200, {})

    async def replace(self, request: Request, record_id: RecordId, model: Model = None) -> Response:
        """`PUT /records/{id}`."""
        records = self._records_of(model)
        key = records.new_key_of(record_id, "record_id")
        document = _document(await read_body(request, _RECORD_BYTES))
        given = document.get("id")
        if given is not None and records.key(given) != key:
            raise InvalidInput(f"expected {record_id!r:.80} as in the path", field="id")
        values, event_time = records.checked(document.get("values")), event_time_of(document.get("event_time"))
        existed = (await records.get([key]))[0] is not None
        await records.put(key, values, event_time)
        return await _stored(records, key, 200 if existed else 201, {} if existed else {"location": _address(key, model)})

    async def remove(self, record_id: RecordId, model: Model = None) -> Response:
        """`DELETE /records/{id}`."""
        records = self._records_of(model)
        if not await records.delete(records.key(record_id, "record_id")):
            raise NotFound(f"there is no record {record_id!r:.200}", field="record_id")
        return Response(status_code=204)


async def _stored(records: RecordSet, key: Any, status: int, headers: dict[str, str]) -> Response:
    found = (await records.get([key]))[0]
    if found is None:
        raise NotFound(f"there is no record {str(key)!r:.200}", field="record_id")
    return _json(found.document(), status, headers)


def _document(body: bytes) -> dict[str, Any]:
    document = read_object(body)
    for name in document:
        if name not in _MEMBERS:
            raise InvalidInput(f"unknown field; expected some of {', '.join(sorted(_MEMBERS))}", field=name[:80])
    if "values" not in document:
        raise InvalidInput("missing; expected an object of column to value", field="values")
    return document


def _address(key: Any, model: str | None) -> str:
    address = f"/records/{quote(str(key), safe='')}"
    return address if model is None else f"{address}?model={quote(model, safe='')}"


def _json(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS), status, headers, "application/json")
