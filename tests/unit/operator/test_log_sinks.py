"""What is kept of what logs' sinks told: of models that are asked about."""

import asyncio
from types import SimpleNamespace

import pytest

from penstock.evidence.quality import QualityDocument
from penstock_operator import log_sinks
from penstock_operator.log_sinks import SinkAsker


class Telling(SinkAsker):
    """Its sink tells at once."""

    async def _told(self, sink: str, model: str) -> QualityDocument | None:
        return QualityDocument(model, [])


@pytest.mark.parametrize("every_s", [20.0, 3600.0])
def test_of_models_that_nobody_asks_about_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, every_s: float) -> None:
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(log_sinks, "time", SimpleNamespace(monotonic=lambda: clock.now_s))

    async def go() -> None:
        asker = Telling(sinks=["http://sink"], sink_every_s=every_s)
        try:
            for number in range(200):
                for model in ("asked", f"over-{number}"):
                    assert await asker.quality(model) == [QualityDocument(model, [])]
                clock.now_s += every_s
        finally:
            await asker.close()
        assert "asked" in asker._known
        assert len(asker._known) < 20

    asyncio.run(go())


def test_two_models_by_turns_are_each_asked_about_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(log_sinks, "time", SimpleNamespace(monotonic=lambda: clock.now_s))

    async def go() -> None:
        asker = Telling(sinks=["http://sink"], sink_every_s=3600.0)
        try:
            await asker.quality("one")
            clock.now_s += 1800.0
            await asker.quality("two")
            assert not asker.is_quality_due("one")
            clock.now_s += 1800.0
            assert (asker.is_quality_due("one"), asker.is_quality_due("two")) == (True, False)
        finally:
            await asker.close()

    asyncio.run(go())
