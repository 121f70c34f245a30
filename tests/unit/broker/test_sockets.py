"""The last answer of a connection of kafka-python."""

import socket
from types import SimpleNamespace

import pytest

from penstock_transformer.broker.kafka_python import sockets


@pytest.mark.parametrize("name", ["KafkaTCPTransport", "KafkaSSLTransport"])
def test_an_answer_that_comes_with_the_end_of_the_connection_is_heard_before_the_end(name: str) -> None:
    kind = getattr(sockets, name)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(b"refused")
        ours.setblocking(False)
        transport = SimpleNamespace(_sock=ours)
        assert kind._sock_recv(transport) == (b"refused", None)
        data, end = kind._sock_recv(transport)
    assert data == b""
    assert "disconnected" in str(end)
