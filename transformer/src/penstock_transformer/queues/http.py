"""The queues over HTTP: figures, the same as events, dead letters and what is done with them.

A letter's bytes, key and headers are somebody's request, and its message may quote from it: they are given to whoever has scope
`admin` for the model alone, as are replaying and dropping. Those two take a JSON body, which no form of another site can send.
"""

import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from penstock.errors import InvalidInput, NotFound, UnsupportedType
from penstock.serving.asgi import plain_response, read_members
from penstock.serving.events import format_event
from penstock.serving.followed_events import FollowedEvents
from penstock.serving.security.scopes import ADMIN, Caller
from penstock_transformer.http.records import Strict
from penstock_transformer.queues.counts import NEWEST, Entry
from penstock_transformer.queues.desk import Desk, Done
from penstock_transformer.queues.documentation import EVENTS, LETTER, LETTERS, QUEUES, SEEN_TO, VALUE
from penstock_transformer.queues.figures import encode
from penstock_transformer.queues.looking import Listed
from penstock_transformer.queues.monitor import QueueMonitor
from penstock_transformer.worker.dead_letters import Letter

_BODY_BYTES = 1024
_JSON = b"application/json"
_LETTER = "/queues/{model}/dead-letters/{partition:int}/{offset:int}"

Partition = Annotated[int, Path(ge=0, lt=2**31)]
Offset = Annotated[int, Path(ge=0, lt=2**62)]
Limit = Annotated[int, Query(ge=1, le=NEWEST)]


class Row(msgspec.Struct, frozen=True):
    """A dead letter in a list; `done`: `replayed`, `dropped`, or null."""

    letter: Entry
    done: str | None


def queues_router(monitor: QueueMonitor, desk: Desk | None) -> APIRouter:
    """The routes of `/queues`; those of dead letters where there is a broker."""
    router = APIRouter(tags=["queues"], route_class=Strict)
    routes = QueueRoutes(monitor, desk)
    add = router.add_api_route
    add("/queues", routes.queues, methods=["GET"], summary="How the queues stand", openapi_extra=QUEUES)
    add("/queues/events", routes.events, methods=["GET"], summary="The same, as server-sent events", openapi_extra=EVENTS,
        response_class=Response)  # fmt: skip
    if desk is not None:
        add("/queues/{model}/dead-letters", routes.letters, methods=["GET"], summary="The newest dead letters",
            openapi_extra=LETTERS)  # fmt: skip
        add(_LETTER, routes.letter, methods=["GET"], summary="A dead letter: why, and its key and headers", openapi_extra=LETTER)
        add(f"{_LETTER}/value", routes.value, methods=["GET"], summary="A dead letter's bytes", openapi_extra=VALUE)
        add(f"{_LETTER}:replay", routes.replay, methods=["POST"], summary="Put it back into the requests, once",
            openapi_extra=SEEN_TO)  # fmt: skip
        add(f"{_LETTER}:drop", routes.drop, methods=["POST"], summary="Take it off the list", openapi_extra=SEEN_TO)
    return router


class QueueRoutes:
    """The endpoints."""

    def __init__(self, monitor: QueueMonitor, desk: Desk | None) -> None:
        self._monitor = monitor
        self._desk = desk

    async def queues(self, model: str | None = None) -> Response:
        """`GET /queues`; `model` leaves the others out."""
        return _answer(encode(self._monitor.queues(model)))

    async def events(self, model: str | None = None) -> Response:
        """`GET /queues/events`: each event a whole document."""
        following = AsyncExitStack()
        documents = await following.enter_async_context(self._monitor.follow(model))
        return FollowedEvents(_events(documents), following)

    async def letters(
        self,
        request: Request,
        model: str,
        reason: str | None = None,
        done: bool = False,
        limit: Limit = 100,
    ) -> Response:
        """`GET /queues/{model}/dead-letters`: of the newest thousand; `done` shows those that were seen to, too."""
        self._of(model)
        assert self._monitor.looker is not None
        found: list[Listed] = [
            listed
            for listed in self._monitor.looker.newest
            if (reason is None or listed.entry.reason == reason) and (done or listed.done is None)
        ]
        quoting = may_quote(request.scope.get("caller"), model)
        rows = [Row(listed.entry if quoting else unquoted(listed.entry), listed.done) for listed in found[:limit]]
        return _answer(msgspec.json.encode({"model": model, "dead_letters": rows, "more": len(found) > limit}))

    async def letter(self, model: str, partition: Partition, offset: Offset) -> Response:
        """`GET /queues/{model}/dead-letters/{partition}/{offset}`."""
        return _answer(msgspec.json.encode(_document(await self._of(model).whole(partition, offset))))

    async def value(self, model: str, partition: Partition, offset: Offset) -> Response:
        """`GET …/value`: bytes that anybody may have written, so never shown by a browser as what they say they are."""
        letter = await self._of(model).whole(partition, offset)
        name = f"{model}-{partition}-{offset}.bin".encode("ascii", "replace").replace(b'"', b"")
        lines = b'content-disposition: attachment; filename="%b"\r\nx-content-type-options: nosniff\r\n%b' % (name, _UNSEEN)
        return plain_response(200, letter.value or b"", b"application/octet-stream", lines)

    async def replay(self, request: Request, model: str, partition: Partition, offset: Offset) -> Response:
        """`POST …:replay`."""
        desk = self._of(model)
        await _confirmed(request)
        return _done(await desk.replay(partition, offset))

    async def drop(self, request: Request, model: str, partition: Partition, offset: Offset) -> Response:
        """`POST …:drop`."""
        desk = self._of(model)
        await _confirmed(request)
        return _done(await desk.drop(partition, offset))

    def _of(self, model: str) -> Desk:
        if self._desk is None or self._desk.model != model:
            raise NotFound(f"no model {model[:100]!r} has dead letters here")
        return self._desk


def may_quote(caller: Caller | None, model: str) -> bool:
    """Whether a caller may see what messages quote; where nobody is asked who he is, everybody may."""
    return caller is None or caller.may(ADMIN, model)


def unquoted(entry: Entry) -> Entry:
    """A letter without its message."""
    return msgspec.structs.replace(entry, message="")


_UNSEEN = b"cache-control: no-store\r\n"


async def _events(documents: AsyncIterator[tuple[int, bytes]]) -> AsyncGenerator[bytes]:
    async for number, document in documents:
        yield format_event(document, id=str(number), event="queues")


async def _confirmed(request: Request) -> None:
    """Raises UnsupportedType, InvalidInput unless the body is the JSON object without members."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedType("expected a JSON body, such as {}", field="Content-Type")
    members = await read_members(request, _BODY_BYTES)
    for name in members:
        raise InvalidInput("no such member is known", field=name[:100])


def _document(letter: Letter) -> dict[str, Any]:
    headers = [[name, value.decode()] if _is_text(value) else [name, None, _base64(value)] for name, value in letter.headers]
    key = letter.key
    return {
        "id": letter.id,
        "reason": letter.reason,
        "message": letter.message,
        "field": letter.field,
        "place": letter.place,
        "request": letter.position,
        "attempts": letter.attempts,
        "failed_s": letter.since_s,
        "omitted": letter.omitted,
        "key": None if key is None else key.decode() if _is_text(key) else None,
        "key_base64": None if key is None else _base64(key),
        "headers": headers,
        "value_bytes": len(letter.value or b""),
    }


def _is_text(value: bytes) -> bool:
    try:
        return value.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _done(done: Done) -> Response:
    return _answer(msgspec.json.encode(done))


def _answer(body: bytes) -> Response:
    return plain_response(200, body, _JSON, _UNSEEN)
