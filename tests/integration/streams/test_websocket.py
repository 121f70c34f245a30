"""Streams over a real server, with the client of the `websockets` library and with bytes on a socket."""

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from penstock.testing.server import ServerProcess

ECHO = "penstock.testing.echo_server"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(ECHO, "--drain_delay_s", "0") as server:
        yield server


def stream(server: ServerProcess, model: str = "echo", **more: Any) -> ClientConnection:
    made: ClientConnection = connect(f"ws://127.0.0.1:{server.port}/v2/models/{model}/stream", **more)
    return made


def request(request_id: str, name: str = "x", value: float = 1.0) -> str:
    return json.dumps({"id": request_id, "inputs": [{"name": name, "datatype": "FP32", "shape": [1], "data": [value]}]})


def answers(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    """The next messages that are no credit."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = json.loads(client.recv(timeout=20))
        if "credit" not in message:
            found.append(message)
    return found


def test_requests_in_flight_are_answered_by_id_as_they_are_ready(server: ServerProcess) -> None:
    with stream(server) as client:
        assert json.loads(client.recv(timeout=20)) == {"credit": 128}
        client.send(request("slow", "delay", 0.2))
        client.send(request("bad", "fail"))
        client.send(request("fast"))
        bad, fast, slow = answers(client, 3)
    assert (bad["id"], bad["error"], bad["kind"]) == ("bad", "inputs[0]: asked to fail", "invalid_input")
    assert (fast["id"], slow["id"]) == ("fast", "slow")
    assert fast["parameters"]["bundle"].startswith("echo@sha256:")


def test_binary_messages_carry_tensors_both_ways(server: ServerProcess) -> None:
    header = {"id": "b", "parameters": {"binary_data_output": True}}
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
    text = json.dumps({**header, "inputs": [tensor]}).encode()
    with stream(server) as client:
        client.recv(timeout=20)
        client.send(struct.pack("<I", len(text)) + text + struct.pack("<2f", 1.5, -2))
        message = client.recv(timeout=20)
    assert isinstance(message, bytes)
    length = struct.unpack_from("<I", message)[0]
    assert json.loads(message[4 : 4 + length])["id"] == "b"
    assert struct.unpack("<2f", message[4 + length :]) == (1.5, -2)


def test_a_thousand_requests_stay_within_the_credit(server: ServerProcess) -> None:
    credit = 0
    seen: set[str] = set()
    with stream(server) as client:
        for number in range(1000):
            while credit == 0 or number - len(seen) >= 100:
                message = json.loads(client.recv(timeout=20))
                credit += message.get("credit", 0)
                if "id" in message:
                    seen.add(message["id"])
            client.send(request(str(number)))
            credit -= 1
        while len(seen) < 1000:
            seen.add(json.loads(client.recv(timeout=20)).get("id", "0"))
    assert seen == {str(number) for number in range(1000)}


def test_more_than_the_credit_is_closed_with_1008(server: ServerProcess) -> None:
    with stream(server) as client:
        for number in range(129):
            client.send(request(str(number), "delay", 5))
        with pytest.raises(ConnectionClosed) as closed:
            list(client)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_model_that_is_not_here_is_told_at_the_handshake(server: ServerProcess) -> None:
    with pytest.raises(InvalidStatus) as refused:
        stream(server, "nothing").close()
    assert refused.value.response.status_code == 404
    assert b"expected one of echo" in (refused.value.response.body or b"")


def test_the_path_without_a_change_of_protocol_says_what_it_wants(server: ServerProcess) -> None:
    answer = httpx.get(f"{server.url}/v2/models/echo/stream")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in answer.json()["error"]
    offer = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "x" * 22 + "=="}
    assert httpx.get(f"{server.url}/v2", headers=offer).status_code == 200
    assert httpx.post(f"{server.url}/v2/models/echo/stream", headers=offer).status_code == 405


def test_a_drain_answers_what_it_took_and_closes_with_1001() -> None:
    with ServerProcess(ECHO, "--drain_delay_s", "0") as server, stream(server) as client:
        client.recv(timeout=20)
        client.send(request("late", "delay", 0.5))
        client.send(request("now"))
        assert answers(client, 1)[0]["id"] == "now"
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert answers(client, 1)[0]["id"] == "late"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
        stopping.join(30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


def test_a_client_that_only_writes_is_not_read_from(server: ServerProcess) -> None:
    """Pings are answered without credit: what bounds them is that their sender has to read."""
    head = (
        b"GET /v2/models/echo/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    pings = (b"\x89\xfd" + b"\0\0\0\0" + b"p" * 125) * 1000
    before = resident(server)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head)
        client.settimeout(1)
        assert client.recv(100).startswith(b"HTTP/1.1 101 ")
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 200 * 2**20:
                sent += client.send(pings[sent % len(pings) :])
    assert sent < 100 * 2**20
    assert resident(server) - before < 40 * 2**20


def resident(server: ServerProcess) -> int:
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
