"""Calls over several pods: who gets them, what is tried again where, and what becomes of pods and callers that leave."""

import asyncio
import time

import numpy as np
import orjson
import pytest
import uvloop

from penstock.dataplane import Context, FutureReply, InferRequest, infer
from penstock.errors import Cancelled, DeadlineExceeded, NotReady, Overloaded, UpstreamUnavailable
from penstock.tensors import Tensor
from penstock.testing.fake_pod import FakePod
from penstock_transformer import spread as spreading
from penstock_transformer.call import is_unplaced
from penstock_transformer.endpoints import Endpoint
from penstock_transformer.predictor_client import OtherBundle, PredictorClient

OURS, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def answer(status=200, digest=OURS, pod=0, close=False):
    tensor = {"name": "pod", "datatype": "INT32", "shape": [1], "data": [pod]}
    body = orjson.dumps({"model_name": "m", "outputs": [tensor]} if status == 200 else {"error": "because"})
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nPenstock-Bundle: m@{digest}\r\n"
    return (head + ("Connection: close\r\n" if close else "") + "\r\n").encode() + body


class Pods:
    """Some pods behind one client, and the source that names them: `tell` says which are there now."""

    def __init__(self, count, **client):
        self.count = count
        self.client_options = client

    def start(self, listener):
        self.listener = listener
        self.tell(*self.pods)

    def tell(self, *pods):
        self.listener(tuple(Endpoint("127.0.0.1", pod.port, lasting=True) for pod in pods), "")

    async def __aenter__(self):
        self.pods = [await FakePod(number, answer(pod=number)).open() for number in range(self.count)]
        self.client = PredictorClient("pods", source=self, timeout_s=20, **self.client_options)
        return self

    async def close(self):
        return

    async def __aexit__(self, *_):
        await self.client.close()
        for pod in self.pods:
            await pod.close()

    @property
    def served(self):
        return [pod.requests for pod in self.pods]


def request(rows=1, **context):
    return InferRequest("m", [Tensor.from_array("x", np.ones((rows, 3), np.float32))], Context("id", **context))


async def pod_of(pods, **given):
    return int((await infer(pods.client, request(**given))).outputs[0].array[0])


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request):
    def runner(coroutine):
        async def bounded():
            async with asyncio.timeout(30):
                await coroutine
                await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
                await asyncio.sleep(0)

        (uvloop.run if request.param == "uvloop" else asyncio.run)(bounded())

    return runner


def test_every_pod_gets_calls(run):
    async def go():
        async with Pods(4) as pods:
            await asyncio.gather(*(pod_of(pods) for _ in range(100)))
            assert sum(pods.served) == 100
            assert min(pods.served) > 5

    run(go())


def test_the_pod_with_fewer_rows_outstanding_gets_the_call(run):
    """A pod that is slow with a large call gets none of the small ones, however many calls the other has."""

    async def go():
        async with Pods(2) as pods:
            pods.pods[0].says = pods.pods[1].says = "hang"
            large = asyncio.ensure_future(pod_of(pods, rows=1000))
            await asyncio.wait(
                [asyncio.ensure_future(pod.asked.wait()) for pod in pods.pods], return_when=asyncio.FIRST_COMPLETED
            )
            slow = pods.served.index(1)
            other = pods.pods[1 - slow]
            other.says = answer(pod=1 - slow)
            assert {await pod_of(pods, rows=10) for _ in range(50)} == {1 - slow}
            pods.pods[0].release.set()
            pods.pods[1].release.set()
            assert await large == slow

    run(go())


@pytest.mark.parametrize("says", ["close", answer(503), answer(412, OTHER)])
def test_what_one_pod_refuses_goes_to_another_once(run, says):
    async def go():
        async with Pods(2) as pods:
            pods.pods[0].says = says
            assert {await pod_of(pods, expect_bundle=OURS) for _ in range(20)} == {1}
            # Set aside, or known to hold another bundle: it is not asked again and again.
            assert pods.served[0] <= 2
            pods.pods[1].says = says
            with pytest.raises((UpstreamUnavailable, NotReady, OtherBundle)):
                await pod_of(pods, expect_bundle=OURS)

    run(go())


def test_a_pod_that_refuses_connections_is_set_aside(run, monkeypatch):
    monkeypatch.setattr(spreading, "FIRST_ASIDE_S", 60.0)

    async def go():
        async with Pods(2) as pods:
            gone = pods.pods[0]
            gone.server.close()
            await gone.server.wait_closed()
            assert {await pod_of(pods) for _ in range(20)} == {1}
            (aside,) = (pool for pool in pods.client._spread._pools.values() if pool.failures)
            assert aside.failures == 1

    run(go())


def test_the_only_pod_is_asked_even_if_it_was_set_aside(run):
    async def go():
        async with Pods(1) as pods:
            pods.pods[0].says = "close"
            with pytest.raises(UpstreamUnavailable):
                await pod_of(pods)
            assert pods.served == [2]
            pods.pods[0].says = answer()
            assert await pod_of(pods) == 0

    run(go())


def test_a_time_out_is_tried_nowhere_else(run):
    async def go():
        async with Pods(2) as pods:
            for pod in pods.pods:
                pod.says = "hang"
            with pytest.raises(DeadlineExceeded):
                await pod_of(pods, deadline=time.monotonic() + 0.1)
            assert sum(pods.served) == 1

    run(go())


@pytest.mark.parametrize("status", [429, 500, 504])
def test_other_refusals_are_the_callers(run, status):
    async def go():
        async with Pods(2) as pods:
            for pod in pods.pods:
                pod.says = answer(status)
            with pytest.raises(Exception, match="because"):
                await pod_of(pods)
            assert sum(pods.served) == 1

    run(go())


def test_pods_that_leave_finish_what_they_have_and_get_nothing_new(run):
    async def go():
        async with Pods(1) as pods:
            pods.pods[0].says = "hang"
            begun = asyncio.ensure_future(pod_of(pods))
            await pods.pods[0].asked.wait()
            pods.pods.append(await FakePod(1, answer(pod=1)).open())
            pods.tell(pods.pods[1])
            assert {await pod_of(pods) for _ in range(5)} == {1}
            pods.pods[0].release.set()
            assert await begun == 0
            pods.tell()
            with pytest.raises(UpstreamUnavailable, match="no pod that is ready"):
                await pod_of(pods)
            pods.tell(pods.pods[1])
            assert await pod_of(pods) == 1

    run(go())


def test_calls_wait_for_the_first_pods_and_hear_if_there_are_none(run):
    class Silent:
        def start(self, listener):
            self.listener = listener

        async def close(self):
            return

    async def go():
        source = Silent()
        client = PredictorClient("pods", source=source, timeout_s=20)
        with pytest.raises(DeadlineExceeded):
            await infer(client, request(deadline=time.monotonic() + 0.05))
        waiting = asyncio.ensure_future(infer(client, request()))
        await asyncio.sleep(0)
        source.listener(None, "pods cannot be resolved")
        with pytest.raises(UpstreamUnavailable, match="pods cannot be resolved"):
            await waiting
        waiting = [asyncio.ensure_future(infer(client, request())) for _ in range(1025)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await waiting.pop()
        await client.close()
        for each in waiting:
            with pytest.raises(UpstreamUnavailable):
                await each

    run(go())


def test_a_caller_that_leaves_takes_its_call_along(run):
    """The connection is closed, so that the predictor can take the request out of its queue; a waiting call is never sent."""

    async def go():
        async with Pods(1, max_connections=1) as pods:
            pods.pods[0].says = "hang"
            replies = [FutureReply(), FutureReply()]
            for reply in replies:
                pods.client.submit(request(), reply)
            await pods.pods[0].asked.wait()
            for reply in replies:
                reply.future.cancel()
            await pods.pods[0].left.wait()
            assert pods.served == [1]
            pods.pods[0].says = answer()
            assert await pod_of(pods) == 0
            assert pods.served == [2]
            assert not any(pool.busy for pool in pods.client._spread._pools.values())

    run(go())


def test_a_reply_that_is_gone_still_hears_the_end(run):
    class Gone:
        disconnected = True

        def __init__(self):
            self.heard = asyncio.get_running_loop().create_future()

        def put(self, response):
            raise AssertionError

        def error(self, error):
            self.heard.set_result(error)

    async def go():
        async with Pods(1) as pods:
            pods.pods[0].says = "hang"
            gone = Gone()
            pods.client.submit(request(), gone)
            assert isinstance(await gone.heard, Cancelled)

    run(go())


def test_whether_another_bundle_may_answer(run):
    """Where there is no pod, or one has ended; not where two have, nor where an answer had begun."""

    async def fails(pods):
        with pytest.raises(UpstreamUnavailable) as caught:
            await pod_of(pods)
        return is_unplaced(caught.value)

    async def go():
        async with Pods(2) as pods:
            first, second = pods.pods
            first.says = second.says = "close"
            assert not await fails(pods)
            assert pods.served == [1, 1]
            pods.tell(first)
            assert await fails(pods)
            assert first.requests == 3
            first.says = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
            wrong = asyncio.ensure_future(fails(pods))
            while first.requests < 4:
                first.asked.clear()
                await first.asked.wait()
            await first.close()
            assert not await wrong
            assert await fails(pods)
            pods.tell()
            assert await fails(pods)

    run(go())


def test_a_second_try_goes_over_a_new_connection(run):
    """A pod that died has ended its idle connections as well, and says so only to what is sent over them."""

    async def go():
        async with Pods(1) as pods:
            (pod,) = pods.pods
            pod.says = "hang"
            held = [asyncio.ensure_future(pod_of(pods)) for _ in range(2)]
            while pod.requests < 2:
                pod.asked.clear()
                await pod.asked.wait()
            pod.release.set()
            assert await asyncio.gather(*held) == [0, 0]
            (pool,) = pods.client._spread._pools.values()
            assert len(pool._idle) == 2
            pod.says = "close"
            with pytest.raises(UpstreamUnavailable):
                await pod_of(pods)
            assert not pool._idle

    run(go())
