"""Pods found and followed: DNS, and the Kubernetes API as a small server that lists, watches, forgets and hangs up."""

import asyncio
import socket

import orjson
import pytest

from penstock.testing.fake_kubernetes import FakeKubernetes
from penstock_transformer.cluster_endpoints import ClusterEndpoints, endpoint_source
from penstock_transformer.endpoints import DnsEndpoints, Endpoint, is_address
from penstock_transformer.kube_api import KubeApi, KubeApiError


def slice_of(name, *addresses, version="1"):
    return {
        "metadata": {"name": name, "resourceVersion": version},
        "ports": [{"name": "http", "port": 8080}, {"name": "grpc", "port": 8081}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


class FakeApi(FakeKubernetes):
    """An API server for one Service. Tests push events into `events`; None hangs up, "half" breaks off in the middle of an event,
    "end" ends the watch as the server does after its time."""

    def __init__(self, *addresses):
        super().__init__()
        self.slices = [slice_of("a", *addresses)]
        self.version = 10
        self.lists = 0
        self.services = 0
        self.events = asyncio.Queue()

    async def respond(self, path, asked, writer):
        if path == "/api/v1/namespaces/there/services/flights":
            self.services += 1
            self.answer(writer, 200, {"spec": {"ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 81}]}})
        elif path != "/apis/discovery.k8s.io/v1/namespaces/there/endpointslices":
            self.answer(writer, 404, {})
        elif "watch" in asked:
            assert asked["labelSelector"] == ["kubernetes.io/service-name=flights"]
            await self._watch(writer, asked)
        else:
            self.lists += 1
            self.answer(writer, 200, {"metadata": {"resourceVersion": str(self.version)}, "items": self.slices})

    async def _watch(self, writer, asked):
        self.begin_watch(writer, asked)
        while (event := await self.events.get()) is not None:
            if event == "end":
                writer.write(b"0\r\n\r\n")
                return
            await self.send(writer, b'{"type": "ADDED", "object' if event == "half" else orjson.dumps(event) + b"\n")
            if event == "half":
                return


class Heard:
    """What a source told, and a way to wait for it."""

    def __init__(self):
        self.told = []
        self._more = asyncio.Event()

    def __call__(self, endpoints, reason):
        self.told.append(endpoints if endpoints is not None else reason)
        self._more.set()

    async def until(self, *hosts):
        """Wait until exactly these hosts are known."""
        while not (self.told and isinstance(self.told[-1], tuple) and [e.host for e in self.told[-1]] == list(hosts)):
            self._more.clear()
            await self._more.wait()

    async def something(self):
        """Wait until anything has been told."""
        await self._more.wait()


class Static:
    """A fallback that says where it is asked."""

    def __init__(self):
        self.open = 0

    def start(self, listener):
        self.open += 1
        listener((Endpoint("10.9.9.9", 80),), "")

    async def close(self):
        self.open = 0


def run(coroutine):
    async def bounded():
        async with asyncio.timeout(30):
            await coroutine
            # What serves the other side ends once it has seen this side go; its sockets are closed a turn later.
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
            await asyncio.sleep(0)

    asyncio.run(bounded())


async def watched(api, fallback=None, token=None):
    heard = Heard()
    source = ClusterEndpoints(
        KubeApi("127.0.0.1", api.port, token=token, namespace="there"), "flights", "there", 80, fallback or Static()
    )
    source.start(heard)
    return source, heard


def test_pods_are_listed_watched_and_followed(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")

    async def go():
        async with FakeApi("10.0.0.1") as api:
            source, heard = await watched(api, token=token)
            await heard.until("10.0.0.1")
            assert heard.told[-1] == (Endpoint("10.0.0.1", 8080, lasting=True),)
            api.events.put_nowait({"type": "MODIFIED", "object": slice_of("a", "10.0.0.1", "10.0.0.2", version="11")})
            await heard.until("10.0.0.1", "10.0.0.2")
            api.events.put_nowait({"type": "DELETED", "object": slice_of("a", version="12")})
            await heard.until()
            assert api.watches == ["10"]
            assert set(api.tokens) == {"secret"}
            await source.close()

    run(go())


def test_a_watch_that_ends_goes_on_from_the_last_bookmark():
    async def go():
        async with FakeApi("10.0.0.1") as api:
            source, heard = await watched(api)
            await heard.until("10.0.0.1")
            api.events.put_nowait({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "77"}}})
            api.events.put_nowait("end")
            api.events.put_nowait({"type": "ADDED", "object": slice_of("b", "10.0.0.5", version="78")})
            await heard.until("10.0.0.1", "10.0.0.5")
            assert (api.watches, api.lists) == (["10", "77"], 1)
            await source.close()

    run(go())


@pytest.mark.parametrize("how", [None, "half"])
def test_a_watch_that_breaks_off_goes_on_and_nothing_is_forgotten(how):
    async def go():
        async with FakeApi("10.0.0.1") as api:
            source, heard = await watched(api)
            await heard.until("10.0.0.1")
            api.events.put_nowait(how)
            api.events.put_nowait({"type": "ADDED", "object": slice_of("b", "10.0.0.5", version="11")})
            await heard.until("10.0.0.1", "10.0.0.5")
            assert len(api.watches) == 2
            assert [[e.host for e in told] for told in heard.told] == [["10.0.0.1"], ["10.0.0.1", "10.0.0.5"]]
            await source.close()

    run(go())


def test_410_gone_lists_again():
    async def go():
        async with FakeApi("10.0.0.1") as api:
            source, heard = await watched(api)
            await heard.until("10.0.0.1")
            api.slices, api.version = [slice_of("c", "10.0.0.7")], 500
            api.events.put_nowait({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
            api.events.put_nowait("end")
            await heard.until("10.0.0.7")
            api.events.put_nowait({"type": "ADDED", "object": slice_of("d", "10.0.0.8", version="501")})
            await heard.until("10.0.0.7", "10.0.0.8")
            assert (api.lists, api.watches) == (2, ["10", "500"])
            await source.close()

    run(go())


def test_410_as_a_status_lists_again():
    async def go():
        async with FakeApi("10.0.0.1") as api:
            source, heard = await watched(api)
            await heard.until("10.0.0.1")
            api.denied = 410
            api.events.put_nowait(None)
            while not heard.told or api.lists < 2:
                api.slices = [slice_of("c", "10.0.0.7")]
                await asyncio.sleep(0.05)
                api.denied = None
            await heard.until("10.0.0.7")
            await source.close()

    run(go())


def test_without_the_right_to_read_endpoints_dns_says_where_to_go_until_the_right_is_there():
    async def go():
        async with FakeApi("10.0.0.1") as api:
            api.denied = 403
            fallback = Static()
            source, heard = await watched(api, fallback)
            await heard.until("10.9.9.9")
            assert fallback.open == 1
            api.denied = None
            await heard.until("10.0.0.1")
            assert fallback.open == 0
            await source.close()

    run(go())


def test_an_api_server_that_is_away_is_no_reason_to_wait():
    async def go():
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            heard = Heard()
            api = KubeApi("127.0.0.1", closed.getsockname()[1])
            source = ClusterEndpoints(api, "flights", "there", 80, Static())
            source.start(heard)
            await heard.until("10.9.9.9")
            await source.close()

    run(go())


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]", b"HTTP/1.1 200 OK\r\n\r\n{", b"HELLO\r\n\r\n", b""]
)
def test_an_answer_that_is_none(answer):
    async def go():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            api = KubeApi("127.0.0.1", server.sockets[0].getsockname()[1])
            with pytest.raises(KubeApiError):
                await api.get("/x")

    run(go())


def test_an_api_server_that_says_nothing():
    async def go():
        async def serve(reader, writer):
            await reader.read()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            api = KubeApi("127.0.0.1", server.sockets[0].getsockname()[1])
            with pytest.raises(KubeApiError, match="no answer"):
                await api.get("/x", timeout_s=0.05)
            with pytest.raises(KubeApiError, match="nothing came"):
                async for _ in api.watch("/x", silent_s=0.05):
                    pass

    run(go())


def test_a_pod_knows_its_api_server_by_its_service_account(tmp_path):
    env = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert KubeApi.of_this_pod({}, tmp_path) is None
    assert KubeApi.of_this_pod(env, tmp_path) is None
    (tmp_path / "token").write_text("secret")
    assert KubeApi.of_this_pod(env, tmp_path) is None


def test_a_name_in_a_cluster_is_watched():
    source = endpoint_source("flights.there", 80, KubeApi("127.0.0.1", 1, namespace="here"))
    assert isinstance(source, ClusterEndpoints)


def test_dns_is_asked_again_and_says_why_not(monkeypatch):
    answers = [OSError(-2, "Name or service not known"), ["10.0.0.2", "10.0.0.1"], OSError(-3, "try again"), ["10.0.0.1"]]

    async def go():
        async def getaddrinfo(host, port, type):
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, OSError):
                raise answer
            return [(socket.AF_INET, 1, 6, "", (address, port)) for address in answer]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        source, heard = DnsEndpoints("flights", 80, refresh_s=0.01), Heard()
        source.start(heard)
        await heard.until("10.0.0.1")
        assert [told if isinstance(told, str) else len(told) for told in heard.told] == [
            "flights cannot be resolved: Name or service not known",
            2,
            "flights cannot be resolved: try again",
            1,
        ]
        await source.close()

    run(go())


def test_a_name_that_is_none_is_told():
    async def go():
        source, heard = DnsEndpoints(f"{'a' * 70}.b", 80, refresh_s=0.01), Heard()
        source.start(heard)
        await heard.something()
        assert "cannot be resolved" in heard.told[0]
        await source.close()

    run(go())


def test_a_list_that_is_none_is_asked_for_again():
    async def go():
        async with FakeApi("10.0.0.1") as api:
            good, api.slices = api.slices, [{"metadata": {"name": "a"}, "ports": 1}]
            source, heard = await watched(api)
            await heard.until("10.9.9.9")
            api.slices = good
            await heard.until("10.0.0.1")
            await source.close()

    run(go())


def test_what_counts_as_a_name():
    assert is_address("10.0.0.1")
    assert is_address("::1")
    assert not is_address("flights-predictor.default")
