"""Predictors by address, and a transformer that routes between them: by a file, or by a ConfigMap of an API server."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.dataplane import Context, DataPlane
from penstock.errors import PenstockError
from penstock.testing.bundles import FakePredictor, bundle_files
from penstock_transformer.kube_api import KubeApi
from penstock_transformer.predictor_clients import PredictorClientFactory
from penstock_transformer.requests import PredictRequest, PredictResponse
from penstock_transformer.route.file_watch import RouteFileWatcher
from penstock_transformer.route.settings import RouteSettings
from penstock_transformer.settings import TransformerSettings
from penstock_transformer.transformer import Transformer

FEATURES = """
formatVersion: 1
features:
  - {name: a, from: request, type: float32, missing: reject, encode: passthrough}
  - {name: b, from: request, type: float32, missing: {default: 2}, encode: passthrough}
  - {name: c, from: request, type: float32, missing: {default: 3}, encode: passthrough}
tensors: {x: [a, b, c]}
"""
WITHIN_S = 60.0


class Reply:
    """One answer to wait for."""

    disconnected = False

    def __init__(self) -> None:
        self.future: asyncio.Future[PredictResponse] = asyncio.get_running_loop().create_future()

    def put(self, response: PredictResponse) -> None:
        self.future.set_result(response)

    def error(self, error: PenstockError) -> None:
        self.future.set_exception(error)


class Site:
    """Three predictors, versions 1 to 3 at http://pN:80, and transformers of the model flights."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.file = folder / "route.yaml"
        self.predictors = {f"http://p{n}:80": FakePredictor(bundle_files(FEATURES, version=str(n))) for n in (1, 2, 3)}
        self.own = self.predictors["http://p1:80"]
        self.closed: list[str] = []
        self.api: KubeApi | None = None
        self.transformer: Transformer
        monkeypatch.setattr(PredictorClientFactory, "connect", lambda _, address: self.connect(address))
        monkeypatch.setattr(PredictorClientFactory, "fixed", lambda _, __: self.own)
        monkeypatch.setattr(RouteSettings, "api", lambda _: self.api)

    def make(self, **given: Any) -> Transformer:
        """A transformer that has not begun, in place of the one before; its own predictor is `own`."""
        settings = {"predictor_host": "p1", "predictor_poll_s": 0.05, "route_poll_s": 0.02, "route_confirm_s": 0.1, **given}
        self.transformer = Transformer(TransformerSettings(model_name="flights", **settings))
        return self.transformer

    def make_filed(self, **given: Any) -> RouteFileWatcher:
        """One that follows the file; what watches it."""
        watcher = self.make(route_file=self.file, **given)._source
        assert isinstance(watcher, RouteFileWatcher)
        return watcher

    async def applied(self, revision: int) -> None:
        """Wait until a revision is."""
        await until(lambda: self.transformer.revision == revision)

    def send(self, *, version: str | None = None, **context: Any) -> Reply:
        """One request."""
        reply = Reply()
        self.transformer.predict(PredictRequest("flights", Context("r", **context), rows=[{"a": 1.0}], version=version), reply)
        return reply

    async def versions(self, count: int = 40) -> dict[str, int]:
        """How many of so many requests each version answers."""
        replies = [self.send(route_key=str(i)) for i in range(count)]
        return dict(Counter([(await reply.future).version or "" for reply in replies]))

    def connect(self, address: str) -> tuple[DataPlane, Callable[[], Awaitable[None]]]:
        async def close() -> None:
            self.closed.append(address)

        return self.predictors[address], close

    def entry(self, number: int, **given: Any) -> dict[str, Any]:
        """An entry of a route; live with all the weight unless it is said otherwise."""
        address = f"http://p{number}:80"
        return {"digest": self.predictors[address].digest, "predictor": address, **(given or {"weight": 100})}

    def text(self, revision: int, *entries: dict[str, Any], **given: Any) -> str:
        """A route's text."""
        document = {"formatVersion": 1, "revision": revision, "model": "flights", "bundles": list(entries), **given}
        text: str = yaml.safe_dump(document)
        return text

    def write(self, revision: int, *entries: dict[str, Any], **given: Any) -> None:
        """Swap a file in as a mounted ConfigMap is: never half of it."""
        new = self.file.with_suffix(".new")
        new.write_text(self.text(revision, *entries, **given))
        new.replace(self.file)


async def until(condition: Callable[[], Any], within_s: float = WITHIN_S) -> None:
    """Wait until a condition holds that something on this loop, or outside, brings about."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 what is waited for may be another program's
            await asyncio.sleep(0.01)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


@pytest.fixture
def wait() -> Callable[..., Awaitable[None]]:
    """`await wait(condition)`."""
    return until


@pytest.fixture
def run() -> Callable[[Any], None]:
    """Runs a test's coroutine; a time-out in it is a failure, not a hang."""

    def runner(coroutine: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(2 * WITHIN_S):
                await coroutine

        asyncio.run(bounded())

    return runner
