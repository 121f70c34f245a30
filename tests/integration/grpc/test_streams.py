"""ModelStreamInfer in this process, over a data plane that can be watched."""

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest

from penstock.errors import Overloaded
from penstock.protocol.grpc import messages
from penstock.serving.grpc.stream import CREDIT
from penstock.serving.shell import ShellLimits
from penstock.testing.grpc_client import infer_message
from penstock.testing.grpc_running import RunningGrpc, run_grpc, until
from penstock.testing.plane import BUNDLE

CODE = grpc.StatusCode
X = np.ones((1, 2), np.float32)


def test_a_stream_answers_in_order_whatever_finishes_first() -> None:
    async def check(running: RunningGrpc) -> None:
        call = running.stream(metadata=(("x-request-id", "s"),))
        slow = infer_message("echo", delay=np.array([0.1], np.float32))
        slow.id = "slow"
        fast = infer_message("echo", x=X)
        fast.id = "fast"
        broken = messages.ModelInferRequest(model_name="echo", id="broken")
        for wire in (slow, fast, broken):
            await call.write(wire.SerializeToString())
        await call.done_writing()
        answers = [messages.ModelStreamInferResponse.FromString(answer) async for answer in call]
        assert [answer.infer_response.id for answer in answers] == ["slow", "fast", "broken"]
        assert [bool(answer.error_message) for answer in answers] == [False, False, True]
        assert await call.code() is CODE.OK
        assert [request.context.request_id for request, _ in running.plane.taken] == ["s.1", "s.2"]
        # What metadata say once of a call, answers say of themselves.
        assert [answer.infer_response.parameters["bundle"].string_param for answer in answers] == [BUNDLE, BUNDLE, ""]
        assert dict(await call.trailing_metadata())["x-request-id"] == "s"


def test_a_request_of_a_stream_that_a_bundle_refused_names_it() -> None:
    async def check(running: RunningGrpc) -> None:
        running.plane.error = Overloaded("the queue is full", retry_after_s=0.25)
        running.plane.error.bundle = "echo@sha256:1"
        call = running.stream()
        await call.write(infer_message("echo", x=X).SerializeToString())
        answer = messages.ModelStreamInferResponse.FromString(await call.read())
        assert answer.error_message
        assert answer.infer_response.parameters["bundle"].string_param == "echo@sha256:1"

    run_grpc(check)

    run_grpc(check)


def test_a_stream_may_ask_for_errors_as_statuses() -> None:
    async def check(running: RunningGrpc) -> None:
        call = running.stream(metadata=(("triton_grpc_error", "true"),))
        await call.write(infer_message("nobody", x=X).SerializeToString())
        with pytest.raises(grpc.aio.AioRpcError, match="no model 'nobody'"):
            await call.read()
        assert await call.code() is CODE.NOT_FOUND

    run_grpc(check)


def test_a_stream_holds_a_bounded_number_of_requests() -> None:
    async def check(running: RunningGrpc) -> None:
        running.plane.hold()
        call = running.stream()
        wire = infer_message("echo", x=X).SerializeToString()
        for _ in range(CREDIT + 20):
            await call.write(wire)
        await running.plane.has(CREDIT)
        await running.channel.unary_unary(f"/{messages.SERVICE}/ServerLive")(b"")
        assert len(running.plane.taken) == CREDIT
        running.plane.release()
        await call.done_writing()
        assert len([answer async for answer in call]) == CREDIT + 20

    run_grpc(check)


def test_a_stream_that_is_cancelled_drops_what_it_had_asked() -> None:
    async def check(running: RunningGrpc) -> None:
        running.plane.hold()
        call = running.stream()
        for _ in range(5):
            await call.write(infer_message("echo", x=X).SerializeToString())
        await running.plane.has(5)
        call.cancel()
        await until(lambda: all(reply.disconnected for _, reply in running.plane.taken))
        await until(lambda: not running.shell.metrics.in_flight("echo").count)

    run_grpc(check)


def test_a_stopping_server_answers_what_a_stream_has_sent_then_ends_it() -> None:
    async def check(running: RunningGrpc) -> None:
        running.plane.hold()
        call = running.stream()
        await call.write(infer_message("echo", x=X).SerializeToString())
        await running.plane.has(1)
        watch: Any = running.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert await watch.read() == b"\x08\x01"
        draining = asyncio.create_task(running.server.drain(20))
        running.plane.release()
        assert messages.ModelStreamInferResponse.FromString(await call.read()).infer_response.model_name == "echo"
        assert await call.code() is CODE.UNAVAILABLE
        assert await watch.read() is grpc.aio.EOF
        await draining

    run_grpc(check)


def test_a_stream_whose_answers_nobody_reads_is_ended() -> None:
    async def check(running: RunningGrpc) -> None:
        call = running.stream()
        large = infer_message("echo", x=np.zeros((100, 1000), np.float32)).SerializeToString()
        for _ in range(60):
            await call.write(large)
        # The caller learns of it behind the answers that are on their way; by then nothing is held for it.
        await until(lambda: running.shell.budget_bytes == running.shell.limits.bodies_bytes and len(running.plane.taken) == 60)
        assert running.shell.metrics.in_flight("echo").count == 0
        with pytest.raises(grpc.aio.AioRpcError, match="no answer of this stream was read for 1 s"):
            await asyncio.wait_for(read_all(call), 30)

    async def read_all(call: Any) -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    run_grpc(check, limits=ShellLimits(stall_timeout_s=1))
