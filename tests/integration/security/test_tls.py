"""TLS on every port of a running program: who is let in, what is spoken, and certificates that change under it."""

import http.client
import json
import socket
import ssl
import threading
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from penstock.testing.certificates import Authority, Pair, SecretMount
from penstock.testing.server import ServerProcess
from penstock.testing.waiting import until

ECHO = "penstock.testing.echo_server"
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]})
REFUSED = "new certificate refused"
INFER = "/v2/models/echo/infer"


def echo(pair: Pair, *options: str, grpc: bool = False) -> ServerProcess:
    tls = ("--tls_cert", str(pair.cert), "--tls_key", str(pair.key), "--drain_delay_s", "0")
    return ServerProcess(ECHO, *tls, *options, grpc=grpc)


def context(ca: Path, pair: Pair | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca)
    if pair is not None:
        made.load_cert_chain(pair.cert, pair.key)
    return made


def connect(port: int, tls: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=10)


def once(port: int, tls: ssl.SSLContext, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    with closing(connect(port, tls)) as connection:
        return ask(connection, method, path, body)


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    connection.request(method, path, body)
    with connection.getresponse() as answer:
        return answer.status, answer.read()


def presented(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)


def live(server: ServerProcess, ca: Path, pair: Pair | None = None) -> bytes:
    """ServerLive's answer over gRPC."""
    credentials = grpc.ssl_channel_credentials(
        ca.read_bytes(), pair.key.read_bytes() if pair else None, pair.cert.read_bytes() if pair else None
    )
    with grpc.secure_channel(server.grpc_address, credentials) as channel:
        call: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        answer: bytes = call(b"", timeout=10)
        return answer


@pytest.fixture(scope="module")
def server(trust: Any) -> Any:
    with echo(trust.server, grpc=True) as running:
        yield running


def test_every_port_speaks_tls_and_nothing_else(server: ServerProcess, trust: Any) -> None:
    tls = context(trust.ca)
    with closing(connect(server.port, tls)) as connection:
        for _ in range(3):  # the head is remembered after the first
            status, body = ask(connection, "POST", INFER, BODY)
            assert (status, json.loads(body)["outputs"][0]["data"]) == (200, [1.0, 2.0])
        assert ask(connection, "GET", "/v2/health/ready")[0] == 200
    assert once(server.admin_port, tls, "GET", "/readyz") == (200, b'{"ready":true,"reasons":{}}')
    assert live(server, trust.ca) == b"\x08\x01"
    for port in (server.port, server.admin_port):
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with closing(plain), pytest.raises((http.client.HTTPException, ConnectionError)):
            ask(plain, "GET", "/healthz")
        with pytest.raises(ssl.SSLCertVerificationError):
            once(port, ssl.create_default_context(), "GET", "/healthz")


def test_nothing_below_tls_1_2(server: ServerProcess, trust: Any) -> None:
    for version, spoken in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
        for port in (server.port, server.admin_port, server.grpc_port):
            tls = context(trust.ca)
            tls.set_alpn_protocols(["h2" if port == server.grpc_port else "http/1.1"])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                tls.minimum_version = tls.maximum_version = version
            tls.set_ciphers("DEFAULT:@SECLEVEL=0")
            with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                if spoken:
                    with tls.wrap_socket(sock, server_hostname="127.0.0.1") as wrapped:
                        assert wrapped.version() == version.name.replace("_", ".")
                else:
                    with pytest.raises(ssl.SSLError):
                        tls.wrap_socket(sock, server_hostname="127.0.0.1")


def test_large_bodies_and_slow_handshakes(server: ServerProcess, trust: Any) -> None:
    silent = socket.create_connection(("127.0.0.1", server.port), timeout=10)  # never says a word
    half = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    half.sendall(b"\x16\x03\x01\x02\x00")
    rows = 400_000
    large = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [rows, 1], "data": [0.5] * rows}]})
    status, body = once(server.port, context(trust.ca), "POST", INFER, large)
    assert (status, len(json.loads(body)["outputs"][0]["data"])) == (200, rows)
    silent.close()
    half.close()


def test_a_new_certificate_is_taken_and_no_connection_is_dropped(tmp_path: Path) -> None:
    authority = Authority("rotating")
    ca = authority.write(tmp_path / "ca.pem")
    mount = SecretMount(tmp_path)

    def put(content: tuple[bytes, bytes]) -> None:
        mount.put({"tls.crt": content[0], "tls.key": content[1]})

    first, second = authority.issue_bytes("first"), authority.issue_bytes("second")
    put(first)
    with echo(Pair(tmp_path / "tls.crt", tmp_path / "tls.key"), grpc=True) as server:
        ports = (server.port, server.admin_port, server.grpc_port)
        assert {presented(port) for port in ports} == {first[0].decode()}
        connections = [connect(server.port, context(ca)) for _ in range(4)]
        stop, failures, answered = threading.Event(), [], [0] * len(connections)

        def keep_asking(number: int) -> None:
            try:
                while not stop.is_set():
                    assert ask(connections[number], "POST", INFER, BODY)[0] == 200
                    answered[number] += 1
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=keep_asking, args=(number,)) for number in range(len(connections))]
        for thread in threads:
            thread.start()
        put((first[0], second[1]))  # a certificate without its key
        until(lambda: presented(server.port) == first[0].decode() and any(e.get("event") == REFUSED for e in server.events))
        assert {presented(port) for port in ports} == {first[0].decode()}
        put(second)
        until(lambda: all(presented(port) == second[0].decode() for port in ports))
        before = list(answered)
        until(lambda: all(now > then for now, then in zip(answered, before, strict=True)))
        stop.set()
        for thread in threads:
            thread.join()
        for connection in connections:
            connection.close()
        assert not failures
        assert live(server, ca) == b"\x08\x01"
    assert not [line for line in server.lines if "PRIVATE" in line]


def test_workers_take_a_new_certificate_too(tmp_path: Path) -> None:
    authority = Authority("rotating")
    pair = authority.issue(tmp_path, "server")
    with echo(pair, "--workers", "2") as server:
        assert len([event for event in server.events if event.get("event") == "worker started"]) == 2
        authority.issue(tmp_path, "server")
        new = pair.cert.read_text()
        until(lambda: all(presented(server.port) == new for _ in range(20)) and presented(server.admin_port) == new)


def test_mutual_tls_asks_callers_for_a_certificate_and_probes_for_none(trust: Any) -> None:
    with echo(trust.server, "--tls_client_ca", str(trust.ca), grpc=True) as server:
        assert once(server.port, context(trust.ca, trust.client), "POST", INFER, BODY)[0] == 200
        assert live(server, trust.ca, trust.client) == b"\x08\x01"
        for pair in (None, trust.stranger):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                once(server.port, context(trust.ca, pair), "GET", "/healthz")
            with pytest.raises(grpc.RpcError):
                live(server, trust.ca, pair)
        assert once(server.admin_port, context(trust.ca), "GET", "/readyz")[0] == 200


def test_an_authority_that_is_taken_away_lets_nobody_in_any_more(tmp_path: Path, trust: Any) -> None:
    authorities = tmp_path / "clients.pem"
    authorities.write_bytes(trust.ca.read_bytes())
    with echo(trust.server, "--tls_client_ca", str(authorities), "--admin_client_ca", str(authorities)) as server:
        mine = context(trust.ca, trust.client)  # keeps sessions, which must not stand for a certificate
        assert once(server.port, mine, "GET", "/healthz")[0] == 200
        assert once(server.admin_port, mine, "GET", "/healthz")[0] == 200
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            once(server.admin_port, context(trust.ca), "GET", "/healthz")
        Authority("another").write(authorities)

        def refused() -> bool:
            try:
                return once(server.port, mine, "GET", "/healthz")[0] != 200
            except (ssl.SSLError, ConnectionError, http.client.HTTPException):
                return True

        until(refused)
        assert refused()


def test_a_silent_client_does_not_hold_up_the_end(trust: Any) -> None:
    with echo(trust.server) as server, closing(connect(server.port, context(trust.ca))) as idle:
        assert ask(idle, "GET", "/healthz")[0] == 200  # and now it neither reads nor closes
        assert server.stop() == 0
    assert not [event for event in server.events if "timeout graceful shutdown exceeded" in str(event.get("event"))]


@pytest.mark.parametrize(
    "options, words",
    [
        (("--tls_cert", "CERT"), "--tls_cert and --tls_key together"),
        (("--tls_key", "KEY"), "--tls_cert and --tls_key together"),
        (("--tls_client_ca", "CA"), "expected --tls_cert and --tls_key beside it"),
        (("--tls_cert", "CERT", "--tls_key", "/nowhere"), "cannot read"),
        (("--tls_cert", "CERT", "--tls_key", "CERT"), "not a PEM certificate and its key"),
        (("--tls_cert", "CERT", "--tls_key", "OTHER"), "key values mismatch"),
        (("--tls_cert", "CERT", "--tls_key", "KEY", "--tls_client_ca", "KEY"), "holds no PEM certificates"),
    ],
)
def test_files_that_do_not_work_end_the_program_with_a_line(trust: Any, options: tuple[str, ...], words: str) -> None:
    names = {"CERT": trust.server.cert, "KEY": trust.server.key, "CA": trust.ca, "OTHER": trust.client.key}
    server = ServerProcess(ECHO, *(str(names.get(option, option)) for option in options)).start()
    assert server.wait() == 1
    assert words in server.wait_event("cannot start", 1)["reason"]
    assert not [line for line in server.lines if "Traceback" in line]
