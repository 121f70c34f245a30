"""The operator asks sinks of prediction logs: one that tells, one that is away, one that talks nonsense."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from penstock.evidence.quality import LogQuality, QualityDocument, QualityEntry
from penstock_operator.log_sinks import SinkAsker

TOLD = QualityDocument("flights", [LogQuality("folder", 5.0, 1.0, [QualityEntry("sha256:1", 4)])])


@asynccontextmanager
async def sink(answer: Callable[[web.Request], Awaitable[web.Response]]) -> Any:
    """The URL of a server that answers `GET /quality` so."""
    app = web.Application()
    app.router.add_get("/quality", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ask(*sinks: str, times: int = 1) -> Any:
    asker = SinkAsker(sinks=sinks, sink_timeout_s=30.0, sink_every_s=0.0)
    try:
        for _ in range(times):
            told = await asker.quality("flights")
    finally:
        await asker.close()
    return told


def test_what_sinks_tell_is_known_and_who_is_silent_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    async def tells(request: web.Request) -> web.Response:
        asked.append(request.query["model"])
        return web.Response(body=msgspec.json.encode(TOLD))

    async def fails(_: web.Request) -> web.Response:
        return web.Response(status=503)

    async def babbles(_: web.Request) -> web.Response:
        return web.Response(body=b"[1]")

    async def go() -> Any:
        async with sink(tells) as one, sink(fails) as two, sink(babbles) as three:
            return await ask(one, two, three, "http://127.0.0.1:1", times=2)

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(go()) == [TOLD]
    assert asked == ["flights", "flights"]
    assert len([record for record in caplog.records if "outcomes" in record.message]) == 3


def test_without_sinks_nothing_is_known_of_outcomes() -> None:
    assert asyncio.run(ask()) is None


def test_a_sink_is_asked_again_when_its_answer_is_old() -> None:
    asked: list[str] = []

    async def tells(request: web.Request) -> web.Response:
        asked.append(request.query["model"])
        return web.Response(body=msgspec.json.encode(TOLD))

    async def due(every_s: float) -> tuple[bool, bool]:
        async with sink(tells) as one:
            asker = SinkAsker(sinks=[one], sink_timeout_s=30.0, sink_every_s=every_s)
            try:
                before = asker.is_quality_due("flights")
                assert await asker.quality("flights") == [TOLD]
                after = asker.is_quality_due("flights")
                assert await asker.quality("flights") == [TOLD]
            finally:
                await asker.close()
        return before, after

    assert asyncio.run(due(every_s=3600.0)) == (True, False)
    assert asked == ["flights"]
    assert asyncio.run(due(every_s=0.0)) == (True, True)
    assert asked == ["flights"] * 3
