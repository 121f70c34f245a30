"""Start hooks, readiness and stop hooks: in order, whatever fails or hangs."""

import asyncio

import pytest

from penstock.lifecycle import Lifecycle, State, StopPhase


def record(into: list[str], name: str, *, fails: bool = False):
    async def hook() -> None:
        into.append(name)
        if fails:
            raise RuntimeError(name)

    return hook


def test_ready_means_every_start_hook_is_done_in_order():
    async def run() -> None:
        lifecycle, seen = Lifecycle(), []
        lifecycle.add_listener(lambda state: seen.append(state.value))
        lifecycle.on_start("load", record(seen, "load"))
        lifecycle.on_start("warm", record(seen, "warm"))
        assert not lifecycle.ready
        assert lifecycle.reasons() == {"lifecycle": "starting"}
        await lifecycle.start()
        assert lifecycle.ready
        assert seen == ["load", "warm", "ready"]

    asyncio.run(run())


def test_a_failed_start_is_never_ready():
    async def run() -> None:
        lifecycle, seen = Lifecycle(), []
        lifecycle.on_start("load", record(seen, "load", fails=True))
        lifecycle.on_start("warm", record(seen, "warm"))
        with pytest.raises(RuntimeError):
            await lifecycle.start()
        assert seen == ["load"]
        assert lifecycle.state is State.STARTING
        assert isinstance(lifecycle.failure, RuntimeError)

    asyncio.run(run())


def test_checks_hold_readiness_and_say_why():
    async def run() -> None:
        lifecycle = Lifecycle()
        reasons = ["route not confirmed"]
        lifecycle.add_check("route", lambda: reasons[0] if reasons else None)
        await lifecycle.start()
        assert lifecycle.reasons() == {"route": "route not confirmed"}
        assert not lifecycle.ready
        reasons.clear()
        assert lifecycle.ready

    asyncio.run(run())


def test_stops_by_phase_latest_first_whatever_fails():
    async def run() -> None:
        lifecycle, seen = Lifecycle(), []
        lifecycle.on_stop("store", record(seen, "store"))
        lifecycle.on_stop("session", record(seen, "session"))
        lifecycle.on_stop("commit", record(seen, "commit", fails=True), StopPhase.COMMIT)
        lifecycle.on_stop("batcher", record(seen, "batcher"), StopPhase.FINISH)
        lifecycle.on_stop("consumer", record(seen, "consumer"), StopPhase.INTAKE)
        await lifecycle.start()
        await lifecycle.stop()
        assert seen == ["consumer", "batcher", "commit", "session", "store"]
        assert lifecycle.state is State.STOPPED
        await lifecycle.stop()
        assert len(seen) == 5

    asyncio.run(run())


def test_a_stop_hook_that_hangs_is_cut_off():
    async def run() -> None:
        lifecycle, seen = Lifecycle(), []
        lifecycle.on_stop("last", record(seen, "last"))
        lifecycle.on_stop("hangs", asyncio.Event().wait, StopPhase.FINISH)  # type: ignore[arg-type]
        await lifecycle.stop(timeout_s=0.05)
        assert seen == ["last"]

    asyncio.run(run())


def test_states_only_move_forward():
    async def run() -> None:
        lifecycle = Lifecycle()
        lifecycle.drain()
        assert lifecycle.state is State.DRAINING
        await lifecycle.start()
        assert lifecycle.state is State.DRAINING
        await lifecycle.stop()
        lifecycle.drain()
        assert lifecycle.state is State.STOPPED

    asyncio.run(run())


def test_a_check_may_be_kept_from_probes() -> None:
    lifecycle = Lifecycle()
    lifecycle.add_check("worker", lambda: "no partitions", probed=False)
    lifecycle.add_check("route", lambda: "lags")
    assert lifecycle.reasons() == {"lifecycle": "starting", "worker": "no partitions", "route": "lags"}
    assert lifecycle.probed_reasons() == {"lifecycle": "starting", "route": "lags"}
