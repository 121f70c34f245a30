"""One question to a pod for its route and its evidence, and another only to a pod that does not tell both at once."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from penstock.evidence.document import Evidence
from penstock.testing.servers import free_port
from penstock_operator.pods import PodAsker
from penstock_operator.seen import Answer

ROUTE = {"revision": 7, "applied": ["sha256:1"], "error": None}
EVIDENCE = {"formatVersion": 1, "model": "flights", "processes": []}
PORT = free_port()


@contextmanager
def pod(address: str, answers: Mapping[str, Any]) -> Iterator[list[str]]:
    """A transformer that answers these paths; which it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(path := self.path.partition("?")[0])
            body = json.dumps(answers.get(path)).encode()
            self.send_response(200 if path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((address, PORT), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield asked
        server.shutdown()


async def ask(*addresses: str) -> tuple[Mapping[str, Answer], list[Evidence]]:
    """What pods at these addresses tell, whose uids they are."""
    asker = PodAsker(admin_port=PORT, timeout_s=30.0)
    try:
        pods = [{"metadata": {"uid": address, "name": address}, "status": {"podIP": address}} for address in addresses]
        answers, told = await asker.routes_and_evidence(pods)
        return answers, list(told)
    finally:
        await asker.close()


def test_a_pod_is_asked_once_and_one_of_a_release_before_twice() -> None:
    now, before, neither = "127.4.0.1", "127.4.0.2", "127.4.0.3"
    with ExitStack() as stack:
        asked = [
            stack.enter_context(pod(now, {"/evidence": {**EVIDENCE, "route": ROUTE}, "/route": {**ROUTE, "revision": 1}})),
            stack.enter_context(pod(before, {"/evidence": EVIDENCE, "/route": ROUTE})),
            stack.enter_context(pod(neither, {"/evidence": {**EVIDENCE, "route": "what?"}})),
        ]
        answers, told = asyncio.run(ask(now, before, neither))
    assert answers == dict.fromkeys((now, before), Answer(7, ("sha256:1",)))
    assert [one.model for one in told] == ["flights"] * 3
    assert asked == [["/evidence"], ["/evidence", "/route"], ["/evidence", "/route"]]


def test_a_pod_whose_evidence_cannot_be_read_still_says_which_route_it_applies() -> None:
    with pod("127.4.0.4", {"/evidence": {**EVIDENCE, "formatVersion": 2, "route": ROUTE}, "/route": ROUTE}):
        assert asyncio.run(ask("127.4.0.4")) == ({"127.4.0.4": Answer(7, ("sha256:1",))}, [])
