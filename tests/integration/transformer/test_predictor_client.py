"""The client to predictors, against a server that misbehaves in every way there is."""

import asyncio
import contextlib
import time

import numpy as np
import orjson
import pytest
import uvloop

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import (
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    TooLarge,
    UpstreamUnavailable,
)
from penstock.tensors import Tensor
from penstock.testing.scripted_server import ScriptedServer
from penstock_transformer.endpoints import Endpoint
from penstock_transformer.predictor_client import OtherBundle, PredictorClient

DIGEST = "sha256:" + "a" * 64
LABEL = f"m@{DIGEST}"


def answer(status=200, body=None, headers="", bundle=LABEL):
    """An HTTP answer; by default y = [1, 2] as JSON."""
    if body is None:
        body = orjson.dumps(
            {"model_name": "m", "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}
            if status == 200
            else {"error": "because"}
        )
    named = f"Penstock-Bundle: {bundle}\r\n" if bundle else ""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{named}{headers}\r\n".encode() + body


class Script(ScriptedServer):
    """A predictor that follows a script, and the client to it."""

    async def __aenter__(self):
        await super().__aenter__()
        self.client = PredictorClient(f"127.0.0.1:{self.port}", timeout_s=20)
        return self

    async def __aexit__(self, *raised):
        await self.client.close()
        await super().__aexit__(*raised)


def request(**given):
    context = {k: given.pop(k) for k in ("deadline", "expect_bundle", "priority", "traceparent") if k in given}
    tensor = Tensor.from_array("x", np.ones((2, 3), np.float32))
    return InferRequest("m", [tensor], Context("id-1", **context), **given)


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request):
    def runner(coroutine):
        async def bounded():
            async with asyncio.timeout(30):
                await coroutine

        (uvloop.run if request.param == "uvloop" else asyncio.run)(bounded())

    return runner


async def fails(script, kind, **given):
    with pytest.raises(kind) as caught:
        await infer(script.client, request(**given))
    return caught.value


def test_a_call(run):
    async def go():
        async with Script(always=answer()) as script:
            given = {"expect_bundle": DIGEST, "deadline": time.monotonic() + 5, "priority": 3, "traceparent": "00-a-b-01"}
            response = await infer(script.client, request(version="7", **given))
            assert response.outputs[0].array.tolist() == [1, 2]
            assert response.bundle == LABEL
            head, body = script.requests[0]
            lines = head.decode().lower()
            assert lines.startswith("post /v2/models/m/versions/7/infer http/1.1\r\n")
            assert f"penstock-expect-bundle: {DIGEST}" in lines
            for line in ("x-request-id: id-1", "penstock-priority: 3", "traceparent: 00-a-b-01", "penstock-timeout-ms: 4"):
                assert line in lines
            assert body.endswith(np.ones((2, 3), np.float32).tobytes())
            for _ in range(5):
                await infer(script.client, request())
            assert script.connections == 1

    run(go())


def test_a_binary_answer(run):
    head = orjson.dumps(
        {
            "model_name": "m",
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}],
        }
    )
    body = head + np.array([1, 2], np.float32).tobytes()

    async def go():
        async with Script(answer(body=body, headers=f"Inference-Header-Content-Length: {len(head)}\r\n")) as script:
            assert (await infer(script.client, request())).outputs[0].array.tolist() == [1, 2]

    run(go())


@pytest.mark.parametrize("first", ["close", answer(503), answer(503, headers="Connection: close\r\n")])
def test_tried_again_once(run, first):
    async def go():
        async with Script(first, answer(), always=first) as script:
            assert (await infer(script.client, request())).outputs
            assert script.connections == 2
            await fails(script, (UpstreamUnavailable, NotReady))
            assert len(script.requests) == 4

    run(go())


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (answer()[:-3] + b"CLOSE", UpstreamUnavailable),
        (b"HTTP/1.1 200 CLOSE", UpstreamUnavailable),
        (b"HELLO\r\n\r\n", UpstreamUnavailable),
        (answer(body=b"{"), UpstreamUnavailable),
        (answer(body=b"{}"), UpstreamUnavailable),
        (answer(headers="Inference-Header-Content-Length: x\r\n"), UpstreamUnavailable),
        (answer(headers="Inference-Header-Content-Length: 9999\r\n"), UpstreamUnavailable),
        (answer(400), InvalidInput),
        (answer(404), NotFound),
        (answer(413), TooLarge),
        (answer(418), UpstreamUnavailable),
        (answer(500), Internal),
        (answer(500, body=b"<html>"), Internal),
        (answer(504), DeadlineExceeded),
    ],
)
def test_never_tried_again(run, step, kind):
    async def go():
        async with Script(step, always=answer()) as script:
            await fails(script, kind)
            assert len(script.requests) == 1
            assert (await infer(script.client, request())).outputs

    run(go())


def test_overloaded_says_when(run):
    async def go():
        async with Script(answer(429, headers="Retry-After-Ms: 250\r\n"), answer(429, headers="Retry-After: 2\r\n")) as script:
            assert (await fails(script, Overloaded)).retry_after_s == 0.25
            assert (await fails(script, Overloaded)).retry_after_s == 2

    run(go())


def test_another_bundle_is_named(run):
    other = "m@sha256:" + "b" * 64

    async def go():
        async with Script(answer(412, bundle=other), answer(bundle=other), answer(bundle=None)) as script:
            for found in (other[2:], other[2:], ""):
                assert (await fails(script, OtherBundle, expect_bundle=DIGEST)).found == found

    run(go())


def test_a_time_out_is_not_tried_again(run):
    async def go():
        async with Script("hang", always=answer()) as script:
            await fails(script, DeadlineExceeded, deadline=time.monotonic() + 0.05)
            assert len(script.requests) == 1
            await fails(script, DeadlineExceeded, deadline=time.monotonic() - 1)
            assert len(script.requests) == 1
            assert (await infer(script.client, request())).outputs
            assert script.connections == 2

    run(go())


def test_refused(run):
    async def go():
        async with Script(always=answer()) as script:
            script.server.close()
            await script.server.wait_closed()
            error = await fails(script, UpstreamUnavailable)
            assert error.message == f"the predictor at 127.0.0.1:{script.port} cannot be reached: Connection refused"

    run(go())


def test_no_such_host(run):
    async def go():
        client = PredictorClient("no-such-host.invalid:80")
        with pytest.raises(UpstreamUnavailable):
            await infer(client, request())
        await client.close()

    run(go())


def test_connections_are_bounded_and_calls_wait(run):
    async def go():
        async with Script(always=answer()) as script:
            script.client = PredictorClient(f"127.0.0.1:{script.port}", max_connections=3)
            answers = await asyncio.gather(*(infer(script.client, request()) for _ in range(50)))
            assert len(answers) == 50
            assert script.connections <= 3

    run(go())


def test_what_nobody_asked_for_is_nobodys_answer(run):
    wrong = orjson.dumps({"model_name": "m", "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [6, 6]}]})

    async def go():
        for surplus in (answer(body=wrong), b"HTTP/1.1 408 X\r\n", b"\0"):
            async with Script(answer() + surplus, always=answer()) as script:
                script.client = PredictorClient(f"127.0.0.1:{script.port}", max_connections=1)
                found = await asyncio.gather(*(infer(script.client, request()) for _ in range(3)))
                assert [response.outputs[0].array.tolist() for response in found] == [[1, 2]] * 3
                assert (len(script.requests), script.connections) == (3, 2)

    run(go())


def test_bytes_between_two_calls_end_the_connection(run):
    async def go():
        async with Script(always=answer()) as script:
            await infer(script.client, request())
            (writer,) = script.writers
            writer.write(b"HTTP/1.1 408 Request Timeout\r\n")
            await writer.drain()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            await infer(script.client, request())
            assert script.connections == 2

    run(go())


def test_a_word_before_the_answer_is_no_answer(run):
    async def go():
        async with Script(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(), always=answer()) as script:
            assert (await infer(script.client, request())).outputs[0].array.tolist() == [1, 2]
            await infer(script.client, request())
            assert script.connections == 1

    run(go())


def test_a_name_that_no_connection_takes_ends_the_call(monkeypatch):
    tries = []

    async def go():
        async def create_connection(*_, **__):
            tries.append(1)
            raise UnicodeError("label too long")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
        client = PredictorClient("127.0.0.1:1")
        with pytest.raises(UpstreamUnavailable, match="label too long"):
            await infer(client, request(deadline=time.monotonic() + 5))
        await client.close()

    asyncio.run(go())
    assert len(tries) <= 2


class OneName:
    """An endpoint as DNS names it: connections to it grow old."""

    def __init__(self, port):
        self.port = port

    def start(self, listener):
        listener((Endpoint("127.0.0.1", self.port),), "")

    async def close(self):
        return


def test_a_connection_to_a_name_grows_old(run):
    async def go():
        async with Script(always=answer()) as script:
            client = script.client = PredictorClient("flights", max_age_s=0.0, source=OneName(script.port))
            for _ in range(3):
                await infer(client, request())
            assert script.connections == 3

    run(go())


def test_closing_ends_calls(run):
    async def go():
        async with Script("hang") as script:
            waiting = asyncio.ensure_future(infer(script.client, request()))
            await script.asked.wait()
            await script.client.close()
            with pytest.raises(UpstreamUnavailable):
                await waiting

    run(go())


def test_metadata_and_files(run):
    document = {
        "name": "m",
        "versions": ["7"],
        "platform": "onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
    }

    async def go():
        async with Script(
            answer(body=orjson.dumps(document)), answer(body=b"files: {}"), answer(404), answer(body=b"[]")
        ) as script:
            metadata = await script.client.metadata("m")
            assert metadata.bundle == LABEL
            assert metadata.inputs[0].shape == (-1, 3)
            assert script.client.ready("m")
            assert script.client.models() == ("m",)
            assert await script.client.bundle_file("m", "bundle.yaml") == b"files: {}"
            assert script.requests[1][0].startswith(b"GET /v2/models/m/bundle/bundle.yaml HTTP/1.1\r\n")
            with pytest.raises(NotFound):
                await script.client.bundle_file("m", "none")
            with pytest.raises(UpstreamUnavailable):
                await script.client.metadata("m")

    run(go())


@pytest.mark.parametrize("address", ["ftp://x", "http://", "", "http://u:secret@x"])
def test_wrong_addresses(address):
    with pytest.raises(InvalidInput):
        PredictorClient(address)
