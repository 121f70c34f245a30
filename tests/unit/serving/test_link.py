"""The link is a protocol over a socket pair, which never leaves the process; both ends are here."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from penstock.errors import ErrorKind, InvalidInput, PenstockError, UpstreamUnavailable
from penstock.serving.link import Link


async def echo(arguments):
    return {"got": arguments}


async def wrong(arguments):
    raise InvalidInput("expected more", field="a")


async def fault(arguments):
    raise RuntimeError("secret")


async def hang(arguments):
    await asyncio.Event().wait()
    return {}


@asynccontextmanager
async def linked(handlers):
    left, right = socket.socketpair()
    near, far = Link({}), Link(handlers)
    await near.connect(left)
    await far.connect(right)
    tasks = [asyncio.create_task(near.run()), asyncio.create_task(far.run())]
    try:
        yield near, far
    finally:
        near._close()
        far._close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_questions_are_answered_whatever_their_order():
    async def body():
        async with linked({"echo": echo}) as (near, _):
            answers = await asyncio.gather(*(near.ask("echo", {"n": number}) for number in range(50)))
            assert [answer["got"]["n"] for answer in answers] == list(range(50))

    asyncio.run(body())


def test_errors_keep_their_kind_and_faults_their_secrets():
    async def body():
        async with linked({"wrong": wrong, "fault": fault}) as (near, _):
            with pytest.raises(PenstockError, match="a: expected more") as raised:
                await near.ask("wrong")
            assert raised.value.kind is ErrorKind.INVALID_INPUT
            for what in ("fault", "unknown"):
                with pytest.raises(PenstockError) as raised:
                    await near.ask(what)
                assert raised.value.kind is ErrorKind.INTERNAL
                assert "secret" not in str(raised.value)

    asyncio.run(body())


def test_no_answer_in_time_is_an_error():
    async def body():
        async with linked({"hang": hang}) as (near, far):
            with pytest.raises(UpstreamUnavailable, match="no answer"):
                await near.ask("hang", timeout_s=0.02)
            for task in far._tasks:
                task.cancel()

    asyncio.run(body())


def test_when_one_side_goes_the_others_questions_end():
    async def body():
        async with linked({"hang": hang}) as (near, far):
            question = asyncio.create_task(near.ask("hang"))
            await asyncio.sleep(0)
            far._close()
            with pytest.raises(UpstreamUnavailable, match="gone"):
                await question
            with pytest.raises(UpstreamUnavailable, match="gone"):
                await near.ask("hang")
            near.tell("anything", {})
            for task in far._tasks:
                task.cancel()

    asyncio.run(body())


def test_what_is_told_last_arrives():
    async def body():
        told = []

        async def note(arguments):
            told.append(arguments)
            return {}

        left, right = socket.socketpair()
        near, far = Link({}), Link({"note": note})
        await near.connect(left)
        await far.connect(right)
        near.tell("note", {"n": 1})
        near.tell("note", {"n": 2})
        await near.flush()
        near._close()
        await far.run()
        assert told == [{"n": 1}, {"n": 2}]

    asyncio.run(body())
