"""A part that ends by itself takes its process with it, with a status that says so; one that was asked to end does not."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from penstock.serving.options import ServingSettings
from penstock_transformer import part as module
from penstock_transformer.part import Part, run_part


@pytest.fixture
def signals() -> Any:
    """The SIGTERMs that this process sends itself."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("status, left", [(3, 3), (0, 1)])
def test_a_part_that_ends_by_itself_ends_the_process_and_is_no_success(signals: list[int], status: int, left: int) -> None:
    part = Part()
    part.ended(status)
    assert (part.status, signals) == (left, [signal.SIGTERM])


def test_a_part_that_was_asked_to_end_sends_nobody_anywhere(signals: list[int]) -> None:
    part = Part()
    part.leaving = True
    part.ended(3)
    assert (part.status, signals) == (0, [])


@pytest.mark.parametrize("end, gone", [("fault", True), ("return", True), ("cancel", False)])
def test_a_part_ends_with_its_task(signals: list[int], caplog: pytest.LogCaptureFixture, end: str, gone: bool) -> None:
    part = Part()

    async def work() -> None:
        if end == "fault":
            raise OSError("the disk is full")
        if end == "cancel":
            await asyncio.Event().wait()

    async def go() -> None:
        running = asyncio.create_task(work())
        part.ends_with(running, "part ended")
        await asyncio.sleep(0)
        if end == "cancel":
            running.cancel()
        await asyncio.wait([running])

    asyncio.run(go())
    assert (part.status, signals) == ((1, [signal.SIGTERM]) if gone else (0, []))
    assert [record.getMessage() for record in caplog.records] == (["part ended"] if end == "fault" else [])


class _Served:
    """Stands for the server: builds the service, lets the part do what it does, and comes to its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, then: Callable[[Part], None]) -> None:
        self.settings: list[ServingSettings] = []
        self.workers: list[int | None] = []
        self._part = Part()
        self._then = then
        monkeypatch.setattr(module, "run", self._run)

    def build(self, settings: ServingSettings) -> tuple[Any, Part]:
        self.settings.append(settings)
        return object(), self._part

    def _run(self, build: Callable[[], Any], settings: ServingSettings, *, most_workers: int | None = None) -> None:
        build()
        self.workers.append(most_workers)
        assert self.settings == [settings]
        self._then(self._part)


def test_a_drained_program_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    served = _Served(monkeypatch, lambda part: None)
    run_part(ServingSettings, served.build, ["--drain_timeout_s", "7"], name="part", description="A part.")
    assert served.settings[0].drain_timeout_s == 7
    assert served.workers == [1], "a part is one of its process, whatever --workers says"


def test_a_program_exits_with_the_status_of_its_part(monkeypatch: pytest.MonkeyPatch, signals: list[int]) -> None:
    served = _Served(monkeypatch, lambda part: part.ended(4))
    with pytest.raises(SystemExit) as ended:
        run_part(ServingSettings, served.build, [], name="part", description="A part.")
    assert ended.value.code == 4
    assert signals == [signal.SIGTERM]


def test_wrong_options_name_the_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    served = _Served(monkeypatch, lambda part: None)
    with pytest.raises(SystemExit) as ended:
        run_part(ServingSettings, served.build, ["--drain_timeout_s", "soon"], name="part", description="A part.")
    assert ended.value.code == 2
    assert "penstock-transformer part" in capsys.readouterr().err
    assert not served.settings
