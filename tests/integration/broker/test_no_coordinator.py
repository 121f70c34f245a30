"""A group's coordinator that goes away when a transaction's offsets come to it: the commit ends, and the next one is made."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from penstock.testing.kafka import KafkaServer
from penstock.testing.servers import free_port
from penstock_transformer.broker.port import Retriable
from penstock_transformer.broker.records import OutRecord, Partition

# Kafka's protocol guide, "API keys".
_FIND_COORDINATOR = 10


class Door:
    """Stands before a broker and hands everything on. `closing`: the next question for a coordinator shuts it for everybody."""

    def __init__(self) -> None:
        self.port = free_port()
        self.behind = 0
        self.closing = self.shut = False
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._begin(self._accept)

    def _begin(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        # Closed, it accepts no more.
        with suppress(OSError):
            while True:
                came, _ = self._listener.accept()
                try:
                    if self.shut:
                        raise ConnectionRefusedError
                    broker = socket.create_connection(("127.0.0.1", self.behind))
                except OSError:
                    came.close()
                    continue
                self._open += (came, broker)
                self._begin(self._ask, came, broker)
                self._begin(self._answer, broker, came)

    def _ask(self, came: socket.socket, broker: socket.socket) -> None:
        with suppress(OSError, struct.error), came.makefile("rb") as questions:
            while head := questions.read(4):
                question = questions.read(*struct.unpack(">i", head))
                if self.closing and struct.unpack(">h", question[:2]) == (_FIND_COORDINATOR,):
                    self.closing, self.shut = False, True
                    self._cut()
                broker.sendall(head + question)
        _cut_off(came, broker)

    def _answer(self, broker: socket.socket, came: socket.socket) -> None:
        with suppress(OSError):
            while answer := broker.recv(65536):
                came.sendall(answer)
        _cut_off(came, broker)

    def _cut(self) -> None:
        _cut_off(*self._open)
        self._open.clear()

    def close(self) -> None:
        _cut_off(self._listener)
        self._cut()
        for thread in self._threads:
            thread.join()


def _cut_off(*connections: socket.socket) -> None:
    for connection in connections:
        # It may be cut off already.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.close()


@pytest.fixture
def own(client: str, door: Door, helpers: Any) -> Iterator[Any]:
    """A bed whose broker is behind the door."""
    with KafkaServer(settings={"advertised.listeners": f"PLAIN://127.0.0.1:{door.port}"}) as kafka:
        door.behind = kafka.port
        made = helpers.Bed(kafka, client)
        yield made
        made.close()


@pytest.mark.parametrize("kind", ["outlet", "alternating"])
def test_a_commit_whose_coordinator_goes_away_ends_and_the_next_are_made(own: Any, door: Door, helpers: Any, kind: str) -> None:
    source, target = own.topic("in"), own.topic("out")
    own.producer().send(helpers.records_of(source, 3))
    intake, _ = own.joined(source, own.make(kafka_session_timeout_s=60.0))
    helpers.take(intake, 3)
    outlet = getattr(own, kind)(own.make(kafka_timeout_s=2.0, kafka_transaction_timeout_s=5.0))
    before = threading.enumerate()
    door.closing = True
    with pytest.raises(Retriable):
        outlet.commit([OutRecord(target, b"k", b"lost")], {Partition(source, 0): 1}, intake.group())
    assert door.shut
    left = [thread for thread in threading.enumerate() if thread.name == "bounded-calls" and thread not in before]
    assert len(left) == (own.client == "confluent")
    door.shut = False
    helpers.until(lambda: _restored(outlet))
    outlet.commit([OutRecord(target, b"k", b"kept")], {Partition(source, 0): 2}, intake.group())
    outlet.commit([OutRecord(target, b"k", b"and this")], {Partition(source, 0): 3}, intake.group())
    assert own.settled(target) == [b"kept", b"and this"]
    # The call that was left behind comes back with the coordinator, and its producer goes.
    for thread in left:
        thread.join(60)
        assert not thread.is_alive()
    assert intake.committed([Partition(source, 0)]) == {Partition(source, 0): 3}


def _restored(outlet: Any) -> bool:
    try:
        outlet.restore()
    except Retriable:
        return False
    return True
