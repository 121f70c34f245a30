"""Asks the sinks of prediction logs what became of predictions, beside the pods.

    GET SINK/quality?model=MODEL -> QualityDocument

A sink that does not answer in time, or with something else, has not answered: a rollout then goes by all the rest, as it does
where nobody tells outcomes. Sinks' addresses are settings.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

import aiohttp

from penstock.errors import InvalidInput
from penstock.evidence.quality import QualityDocument, read_quality
from penstock_operator.pods import PodAsker

log = logging.getLogger(__name__)

_MOST_BYTES = 8 * 1024 * 1024
_KEPT_S = 300.0
"""For how long what was told of a model is kept when nobody asks, whose trial is over: each sink may have told as many bytes."""


class SinkAsker(PodAsker):
    """Implements `Asker`. `sinks`: URLs of admin ports; without any, nothing is known of outcomes. Each is asked every
    `sink_every_s` about a model, and has `sink_timeout_s` to answer."""

    def __init__(
        self, *, admin_port: int = 9090, sinks: Sequence[str] = (), sink_timeout_s: float = 2.0, sink_every_s: float = 20.0
    ) -> None:
        super().__init__(admin_port=admin_port)
        self._sinks = tuple(sink.rstrip("/") for sink in sinks)
        self._silent: set[str] = set()
        self._every_s = sink_every_s
        self._known: dict[str, tuple[float, list[QualityDocument]]] = {}
        # Sinks are behind a Service: a kept connection would go to one of them for ever.
        connector = aiohttp.TCPConnector(limit=16, force_close=True)
        self._sessions = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=sink_timeout_s))

    async def close(self) -> None:
        await self._sessions.close()
        await super().close()

    async def quality(self, model: str) -> Sequence[QualityDocument] | None:
        if not self._sinks:
            return None
        if self.is_quality_due(model):
            now_s = time.monotonic()
            told = await asyncio.gather(*(self._told(sink, model) for sink in self._sinks))
            self._known[model] = now_s, [one for one in told if one is not None]
            self._drop(now_s - max(_KEPT_S, self._every_s))
        return self._known[model][1]

    def _drop(self, before_s: float) -> None:
        for model in [model for model, (told_s, _) in self._known.items() if told_s < before_s]:
            del self._known[model]

    def is_quality_due(self, model: str) -> bool:
        if not self._sinks:
            return False
        known = self._known.get(model)
        return known is None or time.monotonic() - known[0] >= self._every_s

    async def _told(self, sink: str, model: str) -> QualityDocument | None:
        try:
            async with self._sessions.get(f"{sink}/quality", params={"model": model}) as got:
                body = await _read(got.content)
                if got.status != 200:
                    raise InvalidInput(f"answered {got.status}")
            told = read_quality(body)
        except (aiohttp.ClientError, TimeoutError, OSError, InvalidInput) as error:
            if sink not in self._silent:
                # Said once: it is asked every few seconds.
                self._silent.add(sink)
                log.warning("a log's sink tells nothing of outcomes", extra={"sink": sink, "reason": str(error)[:300]})
            return None
        self._silent.discard(sink)
        return told


async def _read(content: aiohttp.StreamReader) -> bytes:
    """A body up to the most that is read; what is longer is cut, and then not understood."""
    found = bytearray()
    async for chunk in content.iter_any():
        found += chunk
        if len(found) > _MOST_BYTES:
            break
    return bytes(found[:_MOST_BYTES])
