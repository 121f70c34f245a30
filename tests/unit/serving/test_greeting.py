"""Connections before their first byte: one too many is told so, and a flood is cut; the limit leaves files for the rest."""

import resource
import socket

import orjson
import pytest

from penstock.serving.greeting import most_connections, watch_peer
from penstock.testing.raw_http import raw_request

REQUEST = raw_request("POST", "/now/a", b"1")


def test_one_connection_too_many_is_told_so_and_dropped(run):
    async def body(bench):
        kept = [bench.connect() for _ in range(2)]
        protocol, transport = bench.connect()
        head, _, text = transport.written.partition(b"\r\n\r\n")
        assert transport.statuses == [503]
        assert b"retry-after: 1" in head
        assert b"connection: close" in head
        assert "takes 2" in orjson.loads(text)["detail"]
        protocol.data_received(REQUEST)
        assert (transport.statuses, transport.closing) == ([503], False), "dropped, so that the client gets to read the answer"
        for _ in range(6):
            protocol.sweep()
        assert transport.closing
        protocol.connection_lost(None)
        for protocol, transport in kept:
            protocol.data_received(REQUEST)
            assert transport.statuses == [200]

    run(body, connections=2)


def test_a_flood_of_connections_is_cut(run):
    async def body(bench):
        transports = [bench.connect()[1] for _ in range(5)]
        assert [transport.statuses for transport in transports] == [[], [], [503], [503], []]
        assert [transport.aborted for transport in transports] == [False] * 4 + [True]

    run(body, connections=2)


@pytest.mark.parametrize(
    ("asked", "files", "most"),
    [(100, 1024, 100), (10_000, 1024, 768), (0, 1024, 768), (10, 4, 2), (50, resource.RLIM_INFINITY, 50)],
)
def test_the_limit_leaves_files_for_the_rest(monkeypatch, asked, files, most):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert most_connections(asked) == most


def test_the_kernel_looks_after_silent_peers():
    with socket.socket() as sock:
        watch_peer(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    with socket.socket(socket.AF_UNIX) as sock:
        watch_peer(sock)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
