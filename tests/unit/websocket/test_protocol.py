"""The connection under a stream, with the frames' library on the other side and no socket between."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from penstock.errors import Forbidden
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.protocol.limits import Limits
from penstock.serving.routes import HotRoutes
from penstock.serving.shell import Shell, ShellLimits
from penstock.serving.websocket.limits import StreamLimits
from penstock.serving.websocket.protocol import StreamProtocol
from penstock.serving.websocket.stream import Streams
from penstock.testing.memory_transport import MemoryTransport
from penstock.testing.plane import EchoPlane


class Pair:
    """Server and client, joined by hand."""

    def __init__(
        self, path: str = "/v2/models/echo/stream", origin: str | None = None, guard: Any = None, origins: Any = (), **limits: Any
    ) -> None:
        self.plane = EchoPlane()
        self.shell = Shell(HotRoutes(), Lifecycle(), Metrics(), ShellLimits(bodies_bytes=1 << 20))
        self.shell.starting = False
        self.shell.guard = guard
        self.shell.origins = origins
        config: Any = type("Config", (), {})()
        config.streams = Streams(self.plane, self.shell, Limits(), StreamLimits(**limits))
        self.state = ServerState()
        self.wire = MemoryTransport(halves=True, peer=("127.0.0.1", 1))
        self.server = StreamProtocol(config, self.state, {})
        self.server.connection_made(self.wire)  # type: ignore[arg-type]
        self.client = ClientProtocol(parse_uri(f"ws://host{path}"))
        request = self.client.connect()
        if origin is not None:
            request.headers["Origin"] = origin
        self.client.send_request(request)

    async def exchange(self) -> list[Any]:
        """What the client has heard once everything is delivered."""
        events: list[Any] = []
        for _ in range(6):
            for data in self.client.data_to_send():
                if data and not self.wire.closing:
                    self.server.data_received(data)
            await asyncio.sleep(0)
            written, self.wire.written = self.wire.written, b""
            if written:
                self.client.receive_data(written)
            events += self.client.events_received()
        return events

    async def open(self) -> "Pair":
        events = await self.exchange()
        assert events[0].status_code == 101
        return self


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(body())


def request(request_id: str, **more: Any) -> bytes:
    return json.dumps(
        {"id": request_id, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}], **more}
    ).encode()


def test_a_message_in_fragments_is_one_message() -> None:
    async def body() -> None:
        pair = await Pair().open()
        message = request("a")
        pair.client.send_text(message[:10], fin=False)
        pair.client.send_ping(b"between")
        pair.client.send_continuation(message[10:20], fin=False)
        pair.client.send_continuation(message[20:], fin=True)
        frames = await pair.exchange()
        assert [frame.opcode for frame in frames] == [Opcode.PONG, Opcode.TEXT]
        assert json.loads(frames[1].data)["id"] == "a"

    run(body)


@pytest.mark.parametrize(
    "send, code",
    [
        (lambda client: client.send_text(b'{"id":"\xff"}'), 1007),
        (lambda client: client.send_binary(b"x" * 2000), 1009),
        (lambda client: [client.send_text(b"x" * 600, fin=False), client.send_continuation(b"x" * 600, fin=True)], 1009),
        (lambda client: [client.send_text(request(str(number))) for number in range(3)], 1008),
    ],
)
def test_what_breaks_the_rules_is_closed_with_its_code(send: Callable[[ClientProtocol], Any], code: int) -> None:
    async def body() -> None:
        pair = await Pair(message_bytes=1000, credit=2).open()
        pair.plane.hold()
        send(pair.client)
        await pair.exchange()
        assert pair.client.close_rcvd is not None
        assert pair.client.close_rcvd.code == code
        assert pair.wire.ended or pair.wire.closing

    run(body)


def test_a_broken_frame_is_closed_as_a_protocol_error() -> None:
    async def body() -> None:
        pair = await Pair().open()
        pair.server.data_received(b"\xff\xff\xff\xff")
        await pair.exchange()
        assert pair.client.close_rcvd is not None
        assert pair.client.close_rcvd.code == 1002

    run(body)


def test_a_message_that_fills_the_budget_before_it_is_whole_closes_the_stream() -> None:
    async def body() -> None:
        pair = await Pair().open()
        pair.client.send_binary(b"x" * (1 << 20), fin=False)
        pair.client.send_continuation(b"x" * (1 << 20), fin=False)
        await pair.exchange()
        assert pair.client.close_rcvd is not None
        assert pair.client.close_rcvd.code == 1013
        assert pair.shell.budget_bytes == 1 << 20

    run(body)


@pytest.mark.parametrize(
    "path, status, word",
    [
        ("/v2/models/nothing/stream", 404, "no model 'nothing'; expected one of echo"),
        ("/v2/models/echo/versions/9/stream", 404, "no version '9'"),
        ("/v2/models/echo/versions/1/stream", 101, ""),
        ("/v2/models/echo/stream?x=1", 101, ""),
    ],
)
def test_the_handshake_says_whose_stream_cannot_be_had(path: str, status: int, word: str) -> None:
    async def body() -> None:
        answer = (await Pair(path).exchange() or [None])[0]
        if status == 101:
            assert isinstance(answer, Response)
            assert answer.status_code == 101
        else:
            await refused(Pair(path), status, word)

    run(body)


async def refused(pair: Pair, status: int, word: str) -> None:
    await pair.exchange()
    answer: Any = getattr(pair.client.handshake_exc, "response", None)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert "X-Request-Id" in answer.headers
    assert word in json.loads(answer.body)["error"]


def test_a_server_that_starts_stops_or_is_not_ready_refuses_for_now() -> None:
    async def body() -> None:
        for change in ({"starting": True}, {"draining": True}):
            pair = Pair()
            vars(pair.shell).update(change)
            await refused(pair, 503, "")
        pair = Pair()
        pair.plane.is_ready = False
        await refused(pair, 503, "model echo is not ready")

    run(body)


def test_only_pages_of_this_host_and_those_that_are_named_may_open_a_stream() -> None:
    async def body() -> None:
        for origins in ((), ("https://good",)):
            await Pair(origins=origins).open()
            await Pair(origin="http://host", origins=origins).open()
            await refused(Pair(origin="https://bad", origins=origins), 403, "Origin")
        await Pair(origin="https://good", origins=("https://good",)).open()
        await Pair(origin="https://any", origins=("*",)).open()

    run(body)


def test_the_guard_is_asked_with_the_handshakes_headers() -> None:
    asked: list[Any] = []

    class Guard:
        def admit(self, headers: Any, *, model: str | None, verb: str, peer: str) -> None:
            asked.append((model, verb, peer, headers[b"host"]))
            raise Forbidden("no scope")

    async def body() -> None:
        await refused(Pair(guard=Guard()), 403, "no scope")
        assert asked == [("echo", "predict", "127.0.0.1", b"host")]

    run(body)


def test_of_two_credentials_neither_counts() -> None:
    asked: list[bytes] = []

    class Guard:
        def admit(self, headers: Any, **_: Any) -> None:
            asked.append(headers[b"authorization"])
            raise Forbidden("no scope")

    async def body() -> None:
        pair = Pair(guard=Guard())
        (sent,) = pair.client.data_to_send()
        twice = sent.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n")
        pair.server.data_received(twice)
        assert asked == [b"Bearer a, Bearer b"]

    run(body)


def test_a_client_that_does_not_read_is_not_read_from_and_then_cut() -> None:
    async def body() -> None:
        pair = await Pair(credit=2, stall_s=3).open()
        pair.server.pause_writing()
        assert not pair.wire.reading
        pair.client.send_text(request("a"))
        await pair.exchange()
        assert pair.server.stream is not None
        assert pair.server.stream.credit == 1
        pair.server.resume_writing()
        assert vars(pair.wire)["reading"]
        assert pair.server.stream.credit == 2
        pair.server.pause_writing()
        for _ in range(4):
            pair.server.sweep()
        assert pair.wire.aborted

    run(body)


def test_silence_is_asked_about_and_then_cut() -> None:
    async def body() -> None:
        pair = await Pair(ping_s=2).open()
        for _ in range(3):
            pair.server.sweep()
        frames = await pair.exchange()
        assert [frame.opcode for frame in frames] == [Opcode.PING]
        assert pair.server.ticks == 0
        written = len(pair.wire.written)
        for _ in range(5):
            pair.server.sweep()
        assert len(pair.wire.written) == written + len(b"penstock") + 2, "one ping"
        assert pair.wire.aborted

    run(body)


def test_half_a_message_and_half_a_closing_are_cut() -> None:
    async def body() -> None:
        pair = await Pair(stall_s=2, close_s=2).open()
        pair.client.send_text(b"{", fin=False)
        await pair.exchange()
        for _ in range(3):
            pair.server.sweep()
        pair.client.parser = iter(lambda: None, 1)  # type: ignore[assignment]
        await asyncio.sleep(0)
        assert b"\x03\xf0the message did not arrive in time" in pair.wire.written
        for _ in range(3):
            pair.server.sweep()
        assert pair.wire.aborted

    run(body)


def test_a_handshake_that_never_ends_is_cut() -> None:
    async def body() -> None:
        pair = Pair(handshake_s=2)
        for _ in range(3):
            pair.server.sweep()
        assert pair.wire.aborted

    run(body)


def test_a_stopping_server_closes_with_1001_behind_the_answers() -> None:
    async def body() -> None:
        pair = await Pair().open()
        pair.plane.hold()
        pair.client.send_text(request("a"))
        await pair.exchange()
        pair.server.shutdown()
        pair.plane.release()
        frames = await pair.exchange()
        assert [frame.opcode for frame in frames] == [Opcode.TEXT, Opcode.CLOSE]
        assert pair.client.close_rcvd is not None
        assert pair.client.close_rcvd.code == 1001
        pair.server.eof_received()  # returns None: the loop closes the transport

    run(body)


def test_a_lost_connection_leaves_nothing_behind() -> None:
    async def body() -> None:
        pair = await Pair().open()
        pair.plane.hold()
        pair.client.send_text(request("a"))
        pair.client.send_binary(b"x" * 100_000, fin=False)
        await pair.exchange()
        assert pair.shell.budget_bytes < 1 << 20
        pair.server.connection_lost(None)
        pair.plane.release()
        await pair.exchange()
        assert pair.shell.budget_bytes == 1 << 20
        assert not pair.state.connections
        assert pair.shell.metrics.in_flight("echo").count == 0

    run(body)
