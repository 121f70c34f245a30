"""The server in this process, over a data plane that can be watched: cancelling, deadlines, budget, guard, faults of ours."""

import time
from typing import Any

import grpc
import numpy as np
import pytest

from penstock.errors import Forbidden, Overloaded, Unauthenticated
from penstock.protocol.grpc import messages
from penstock.serving.shell import ShellLimits
from penstock.testing.grpc_client import infer_message
from penstock.testing.grpc_running import RunningGrpc, run_grpc, until

CODE = grpc.StatusCode
X = np.ones((1, 2), np.float32)


async def status(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    return error.code(), error.details() or "", dict(error.trailing_metadata())  # type: ignore[arg-type,unused-ignore]


def test_a_cancelled_call_marks_its_reply_and_gives_everything_back() -> None:
    async def check(running: RunningGrpc) -> None:
        running.plane.hold()
        budget = running.shell.budget_bytes
        call = running.infer(infer_message("echo", x=np.zeros((200, 200), np.float32)))
        await running.plane.has(1)
        _, reply = running.plane.taken[0]
        assert not reply.disconnected
        assert running.shell.budget_bytes < budget
        assert running.shell.metrics.in_flight("echo").count == 1
        call.cancel()
        await until(lambda: reply.disconnected)
        await until(lambda: not running.shell.metrics.in_flight("echo").count)
        assert running.shell.budget_bytes == budget
        running.plane.release()
        await running.infer(infer_message("echo", x=X))

    run_grpc(check)


def test_the_callers_deadline_is_the_contexts() -> None:
    async def check(running: RunningGrpc) -> None:
        now = time.monotonic()
        await running.infer(infer_message("echo", x=X))
        await running.infer(infer_message("echo", x=X), timeout=50)
        await running.infer(infer_message("echo", x=X), timeout=50, metadata=(("penstock-timeout-ms", "20000"),))
        await running.infer(infer_message("echo", x=X), timeout=20, metadata=(("penstock-timeout-ms", "50000"),))
        none, *deadlines = (request.context.deadline for request, _ in running.plane.taken)
        assert none is None
        call, header, earlier = (deadline - now for deadline in deadlines if deadline is not None)
        assert 40 < call < 60
        assert 15 < header < 30
        assert 15 < earlier < 30

    run_grpc(check)


def test_metadata_are_the_context_as_headers_are() -> None:
    async def check(running: RunningGrpc) -> None:
        metadata = (
            ("x-request-id", "r"),
            ("penstock-priority", "-2"),
            ("penstock-route-key", "key"),
            ("penstock-expect-bundle", "echo@sha256:" + "0" * 64),
            ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
        )
        await running.infer(infer_message("echo", x=X), metadata=metadata)
        context = running.plane.taken[0][0].context
        assert (context.request_id, context.priority, context.route_key) == ("r", -2, "key")
        assert context.expect_bundle == "sha256:" + "0" * 64
        assert str(context.traceparent).startswith("00-" + "a" * 32)

    run_grpc(check)


def test_a_server_that_starts_is_live_and_not_ready() -> None:
    async def check(running: RunningGrpc) -> None:
        code, details, trailers = await status(running.infer(infer_message("echo", x=X)))
        assert (code, trailers["retry-after-ms"]) == (CODE.UNAVAILABLE, "1000")
        assert "starting" in details
        live = await running.channel.unary_unary(f"/{messages.SERVICE}/ServerLive")(b"")
        assert messages.ServerLiveResponse.FromString(live).live
        ready = await running.channel.unary_unary(f"/{messages.SERVICE}/ServerReady")(b"")
        assert not messages.ServerReadyResponse.FromString(ready).ready

    run_grpc(check, ready=False)


def test_errors_of_the_data_plane_carry_what_is_known() -> None:
    async def check(running: RunningGrpc) -> None:
        error = Overloaded("the queue is full", retry_after_s=0.25)
        error.bundle = "echo@sha256:1"
        running.plane.error = error
        code, _, trailers = await status(running.infer(infer_message("echo", x=X), metadata=(("x-request-id", "r"),)))
        assert code is CODE.RESOURCE_EXHAUSTED
        assert trailers == {"x-request-id": "r", "penstock-bundle": "echo@sha256:1", "retry-after-ms": "250"}

    run_grpc(check)


def test_a_fault_of_ours_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def check(running: RunningGrpc) -> None:
        running.plane.raises = RuntimeError("a secret")
        code, details, trailers = await status(running.infer(infer_message("echo", x=X)))
        assert code is CODE.INTERNAL
        assert "secret" not in details
        assert trailers["x-request-id"]
        call = running.stream()
        await call.write(infer_message("echo", x=X).SerializeToString())
        answer = messages.ModelStreamInferResponse.FromString(await call.read())
        assert "internal error" in answer.error_message

    run_grpc(check)
    assert "a secret" in caplog.text


def test_large_requests_share_the_budget_of_http() -> None:
    async def check(running: RunningGrpc) -> None:
        running.plane.hold()
        large = infer_message("echo", x=np.zeros((150, 200), np.float32))
        first = running.infer(large)
        await running.plane.has(1)
        code, details, trailers = await status(running.infer(large))
        assert code is CODE.RESOURCE_EXHAUSTED, details
        assert trailers["retry-after-ms"] == "1000"
        assert "too many large requests" in details
        running.plane.release()
        await first
        await running.infer(large)

    run_grpc(check, limits=ShellLimits(bodies_bytes=200_000))


class Gate:
    """A guard that knows two callers."""

    async def admitted(self, headers: Any, *, model: str | None, verb: str, peer: str) -> None:
        assert peer == "127.0.0.1"
        who = headers.get(b"authorization")
        if who is None:
            raise Unauthenticated("expected credentials", field="authorization")
        if (who, verb) not in ((b"Bearer reader", "describe"), (b"Bearer caller", "predict")):
            raise Forbidden(f"may not {verb} {model}")


def test_the_guard_is_asked_for_every_call_but_health() -> None:
    async def check(running: RunningGrpc) -> None:
        running.shell.guard = Gate()  # type: ignore[assignment]
        code, _, trailers = await status(running.infer(infer_message("echo", x=X)))
        assert code is CODE.UNAUTHENTICATED
        assert trailers["x-request-id"]
        reader, caller = ((("authorization", f"Bearer {name}"),) for name in ("reader", "caller"))
        code, details, _ = await status(running.infer(infer_message("echo", x=X), metadata=reader))
        assert (code, details) == (CODE.PERMISSION_DENIED, "may not predict echo")
        await running.infer(infer_message("echo", x=X), metadata=caller)
        # Of two credentials neither counts: whoever stood between may have looked at the other one.
        for both in (reader + caller, caller + reader, caller + caller):
            assert (await status(running.infer(infer_message("echo", x=X), metadata=both)))[0] is CODE.PERMISSION_DENIED
        describe = running.channel.unary_unary(f"/{messages.SERVICE}/ModelMetadata")
        wire = messages.ModelMetadataRequest(name="echo").SerializeToString()
        assert (await status(describe(wire, metadata=caller)))[0] is CODE.PERMISSION_DENIED
        await describe(wire, metadata=reader)
        for open_to_all in (
            f"/{messages.SERVICE}/ServerLive",
            f"/{messages.SERVICE}/ServerReady",
            "/grpc.health.v1.Health/Check",
        ):
            await running.channel.unary_unary(open_to_all)(b"")
        reflection: Any = running.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        call = reflection()
        await call.write(b"\x3a\x01*")
        assert await call.code() is CODE.UNAUTHENTICATED
        call = running.stream(metadata=reader)
        await call.write(infer_message("echo", x=X).SerializeToString())
        assert "may not predict" in messages.ModelStreamInferResponse.FromString(await call.read()).error_message

    run_grpc(check)


def test_health_follows_readiness() -> None:
    async def check(running: RunningGrpc) -> None:
        ask = running.channel.unary_unary("/grpc.health.v1.Health/Check")
        for service in ("", messages.SERVICE, "echo"):
            question = b"\x0a%c%b" % (len(service), service.encode())
            assert await ask(question) == b"\x08\x01"
        watch: Any = running.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert await watch.read() == b"\x08\x01"
        running.plane.is_ready = False
        assert await watch.read() == b"\x08\x02"
        assert await ask(b"") == b"\x08\x02"
        assert (await status(ask(b"\x0a\x06nobody")))[0] is CODE.NOT_FOUND
        unknown: Any = running.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x06nobody")
        assert await unknown.read() == b"\x08\x03"

    run_grpc(check)


def test_a_tool_that_keeps_its_reflection_open_holds_up_no_drain() -> None:
    async def check(running: RunningGrpc) -> None:
        reflection: Any = running.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        call = reflection()
        for _ in range(2):
            await call.write(b"\x3a\x01*")
            assert messages.SERVICE.encode() in await call.read()
        await running.server.drain(2)
        assert await call.code() is CODE.OK

    run_grpc(check)
