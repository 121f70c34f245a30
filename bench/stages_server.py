"""A transformer or predictor whose stages are timed, for bench/stages.py.

    python bench/stages_server.py transformer|predictor FIFO [the program's own options]

The functions of the real program are wrapped before it starts; each moment counts for the innermost wrapped function, so
stages add up and none is counted twice. A path written to FIFO is answered with a file there: figures since the start, and what
a wrapped call itself costs, to be subtracted.

The transformer's clock is the time of day, read without a system call: its stages are entered several times a request, and it
has its core to itself. The predictor, entered once a batch, shares a core: its clock is the thread's CPU.
"""

import asyncio
import functools
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import coroutine
from typing import Any

HTTP = ["penstock.serving.fast:FastProtocol.data_received", "penstock.serving.fast_exchange:FastExchange._respond"]
BATCHER = "penstock.batcher.batcher:Batcher"
BATCHING = [f"{BATCHER}.submit", f"{BATCHER}._take", "penstock.batcher.tasks:Tasks._end"]
OURS = "penstock_transformer"
STAGES = {
    "transformer": {
        "HTTP": HTTP,
        "JSON decode": [f"{OURS}.http.predict:json_rows"],
        "batching, routing": [*BATCHING, f"{OURS}.pipeline:Pipeline.run"],
        "columns": [
            *(f"{OURS}.group:Group.{name}" for name in ("__init__", "begin", "resolve")),
            *(f"{OURS}.gathering:Gathering.{name}" for name in ("second", "finish")),
        ],
        "store read": [f"{OURS}.store.redis:RedisStore.read", f"{OURS}.store.redis_connection:_Stream.data_received"],
        "encoder": ["penstock.features.encoder:Encoder.encode"],
        "predictor call": [
            f"{OURS}.pipeline:call_rows",
            f"{OURS}.predictor_client:PredictorClient.submit",
            f"{OURS}.connection:Connection.data_received",
        ],
        "post-processing": [f"{OURS}.group:Group.answer"],
        "answer JSON": [f"{OURS}.http.answers:ExchangeReply.put"],
    },
    "predictor": {
        "HTTP": HTTP,
        "decode": ["penstock.protocol.v2:decode_request"],
        "batching": [*BATCHING, "penstock_predictor.work:Plans.take"],
        "model run": ["penstock_predictor.runner:Runner.run"],
        "encode": ["penstock_predictor.runner:Runner.deliver", "penstock.protocol.v2:encode_response"],
    },
}
# A write is a system call at once, inside whatever stage makes it: it is a stage of its own.
WRITES = "socket writes"
WRITERS = {
    "transformer": [
        "penstock.serving.fast:FastProtocol",
        f"{OURS}.store.redis_connection:_Stream",
        f"{OURS}.connection:Connection",
    ],
    "predictor": ["penstock.serving.fast:FastProtocol"],
}
CLOCKS = {"transformer": time.perf_counter_ns, "predictor": time.thread_time_ns}
# Called once a batch: rows a batch is requests by its calls.
A_BATCH = {"transformer": "encoder", "predictor": "model run"}
_CALLS = 2000


class Clock:
    """Time by stage, in ns of `clock`: `spent`; `calls` into a stage, and from a stage into another (`inner_calls`)."""

    def __init__(self, stages: int, clock: Callable[[], int]) -> None:
        self._now = clock
        self.spent = [0] * stages
        self.calls = [0] * stages
        self.inner_calls = [0] * stages
        self._stack: list[int] = []
        self._at = 0
        self._thread = threading.get_ident()

    def enter(self, stage: int) -> None:
        now = self._now()
        if self._stack:
            outer = self._stack[-1]
            self.spent[outer] += now - self._at
            self.inner_calls[outer] += 1
        self._stack.append(stage)
        self.calls[stage] += 1
        self._at = now

    def leave(self) -> None:
        now = self._now()
        self.spent[self._stack.pop()] += now - self._at
        self._at = now

    def wrap(self, stage: int, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed; of a coroutine function every step is."""
        if asyncio.iscoroutinefunction(function):
            return self._wrap_coroutine(stage, function)
        enter, leave = self.enter, self.leave

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            enter(stage)
            try:
                return function(*args, **kwargs)
            finally:
                leave()

        return timed

    def wrap_anywhere(self, stage: int, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed also where a worker thread runs it, beside the loop's stages."""
        on_the_loop = self.wrap(stage, function)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == self._thread:
                return on_the_loop(*args, **kwargs)
            began = time.thread_time_ns()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent[stage] += time.thread_time_ns() - began
                self.calls[stage] += 1

        return timed

    def _wrap_coroutine(self, stage: int, function: Callable[..., Any]) -> Callable[..., Any]:
        @coroutine
        def steps(running: Any) -> Any:
            advance, value = running.send, None
            while True:
                self.enter(stage)
                try:
                    awaited = advance(value)
                except StopIteration as end:
                    return end.value
                finally:
                    self.leave()
                try:
                    advance, value = running.send, (yield awaited)
                except BaseException as error:
                    advance, value = running.throw, error

        @functools.wraps(function)
        async def timed(*args: Any, **kwargs: Any) -> Any:
            return await steps(function(*args, **kwargs))

        return timed


def cost_of_a_call(now: Callable[[], int]) -> tuple[float, float]:
    """What wrapping costs, in ns a call: counted in the stage itself, and in the stage that called it."""
    found = []
    for _ in range(15):
        clock = Clock(2, now)
        nothing = clock.wrap(0, _nothing)
        clock.enter(1)
        for _ in range(_CALLS):
            nothing(None)
        clock.leave()
        plain = -now()
        for _ in range(_CALLS):
            _nothing(None)
        plain += now()
        found.append((clock.spent[0] / _CALLS, (clock.spent[1] - plain) / _CALLS))
    inside, outside = zip(*found, strict=True)
    return sorted(inside)[len(inside) // 2], sorted(outside)[len(outside) // 2]


def _nothing(_: Any) -> None: ...


class TimedTransport:
    """A transport whose writes are timed; everything else is the transport's own."""

    def __init__(self, transport: Any, clock: Clock, stage: int) -> None:
        self.write = clock.wrap(stage, transport.write)
        self.writelines = clock.wrap(stage, transport.writelines)
        self.is_closing = transport.is_closing
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def install(clock: Clock, program: str) -> None:
    """Put wrapped functions in the places of the real ones. Raises AttributeError for one that is no longer there."""
    for stage, (title, places) in enumerate(STAGES[program].items()):
        # Large batches are encoded and run in a thread.
        wrap = clock.wrap_anywhere if title == A_BATCH[program] else clock.wrap
        for place in places:
            holder, name = _find(place)
            setattr(holder, name, wrap(stage, getattr(holder, name)))
    for place in WRITERS[program]:
        holder, name = _find(f"{place}.connection_made")
        setattr(holder, name, _with_timed_writes(getattr(holder, name), clock, len(STAGES[program])))


def _find(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    holder: Any = importlib.import_module(module)
    for owner in owners:
        holder = getattr(holder, owner)
    return holder, name


def _with_timed_writes(connection_made: Callable[..., None], clock: Clock, stage: int) -> Callable[..., None]:
    def timed(self: Any, transport: Any) -> None:
        connection_made(self, transport)
        self.transport = TimedTransport(transport, clock, stage)

    return timed


def answer(fifo: Path, clock: Clock, names: list[str], cost: tuple[float, float]) -> None:
    """Write the figures to each path that comes through `fifo`."""
    inside, outside = cost
    while True:
        with fifo.open() as asked:
            paths = asked.read().splitlines()
        for path in paths:
            figures = [clock.spent[:], clock.calls[:], clock.inner_calls[:]]
            known = {name: dict(zip(("ns", "calls", "inner_calls"), row, strict=True)) for name, row in
                     zip(names, zip(*figures, strict=True), strict=True)}  # fmt: skip
            part = Path(f"{path}.part")
            part.write_text(json.dumps({"stages": known, "inside_ns": inside, "outside_ns": outside}))
            part.rename(path)


def main() -> None:
    program, fifo, *options = sys.argv[1:]
    stages = [*STAGES[program], WRITES]
    now = CLOCKS[program]
    clock = Clock(len(stages), now)
    os.mkfifo(fifo)
    install(clock, program)
    arguments = Path(fifo), clock, stages, cost_of_a_call(now)
    threading.Thread(target=answer, args=arguments, daemon=True).start()
    importlib.import_module(f"penstock_{program}.__main__").main(options)


if __name__ == "__main__":
    main()
