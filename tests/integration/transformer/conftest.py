"""Predictors by address, and a transformer that routes between them: by a file, or by a ConfigMap of an API server that lists,
watches, denies, falls silent, forgets and hangs up on demand."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from penstock.dataplane import Context, DataPlane
from penstock.errors import PenstockError
from penstock.testing.bundles import FakePredictor, bundle_files
from penstock.testing.fake_kubernetes import Asked, FakeKubernetes
from penstock.testing.kubernetes import KubernetesServer
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
NAME = "penstock-route-flights"
# As the chart gives them: names where Kubernetes lets one say names.
CONFIGMAPS = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NAME], "verbs": ["get", "list", "watch"]}
SERVICES = {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}
SLICES = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
RULES = [CONFIGMAPS, SERVICES, SLICES]
WITHIN_S = 60.0
_numbers = itertools.count(1)


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

    def told(self) -> dict[str, Any]:
        """What the transformer says of its route at `GET /route`."""
        answer: dict[str, Any] = self.transformer.status.answer(self.transformer.table.route)
        return answer

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
        text: str = yaml.dump(document, Dumper=yaml.CSafeDumper)
        return text

    def write(self, revision: int, *entries: dict[str, Any], **given: Any) -> None:
        """Swap a file in as a mounted ConfigMap is: never half of it."""
        new = self.file.with_suffix(".new")
        new.write_text(self.text(revision, *entries, **given))
        new.replace(self.file)


class Space:
    """A namespace of a test's own, with an account that transformers have."""

    def __init__(self, kubernetes: KubernetesServer) -> None:
        self.kubernetes = kubernetes
        self.rules = RULES
        self.name = kubernetes.namespace(f"space-{next(_numbers)}")
        self.account = kubernetes.account(self.name, "transformer", RULES)
        self.path = f"/api/v1/namespaces/{self.name}/configmaps/{NAME}"

    def api(self) -> KubeApi:
        found = KubeApi.of_this_pod(self.kubernetes.environment, self.account)
        assert found is not None
        return found

    def put(self, text: str, **metadata: Any) -> None:
        """Write the route as the operator does."""
        kind = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, **metadata}}
        self.kubernetes.apply(self.path, {**kind, "data": {"route.yaml": text}}, manager="penstock-operator")

    def replace(self, document: dict[str, Any]) -> None:
        """Put something else in its place, as a hand does."""
        kind = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}}
        self.kubernetes.request("PUT", self.path, {**kind, **document})

    async def away(self, function: Callable[..., Any], *given: Any) -> Any:
        """Run what blocks in a thread."""
        return await asyncio.to_thread(function, *given)


class RouteApi(FakeKubernetes):
    """The API server of one ConfigMap, `held`. `mute`: watches are cut, and nobody is told. `late`: what gets wait for, once they
    have read."""

    name = NAME
    _path = "/api/v1/namespaces/there/configmaps"

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Any] | None = None
        self.version = 100
        self.mute = False
        self.late: asyncio.Event | None = None
        self.uid = "first"
        self.lists = self.gets = 0
        self._queues: list[asyncio.Queue[dict[str, Any]]] = []

    def put(
        self,
        text: str | None,
        *,
        uid: str | None = None,
        tell: bool = True,
        annotations: dict[str, str] | None = None,
        **data: Any,
    ) -> None:
        """Write the ConfigMap, and tell who watches."""
        self.version += 1
        self.uid = uid or self.uid
        metadata = {"name": self.name, "uid": self.uid, "resourceVersion": str(self.version), "annotations": annotations}
        kind = "ADDED" if self.held is None else "MODIFIED"
        self.held = {"metadata": metadata, "data": {"route.yaml": text} if text is not None else {}, **data}
        if tell:
            self.tell({"type": kind, "object": self.held})

    def delete(self) -> None:
        """Delete it, and tell."""
        self.version += 1
        gone, self.held = self.held or {}, None
        metadata = {**gone["metadata"], "resourceVersion": str(self.version)}
        self.tell({"type": "DELETED", "object": {**gone, "metadata": metadata}})

    def tell(self, event: dict[str, Any]) -> None:
        """Send every watch an event."""
        for queue in self._queues:
            if not self.mute:
                queue.put_nowait(event)

    async def respond(self, path: str, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """A get, a list or a watch."""
        if path == f"{self._path}/{self.name}":
            self.gets += 1
            held = self.held
            if self.late is not None:
                await self.late.wait()
            self.answer(writer, 200 if held else 404, held or {})
        elif "watch" in asked:
            assert asked["fieldSelector"] == [f"metadata.name={self.name}"]
            await self._watch(writer, asked)
        else:
            self.lists += 1
            items = [self.held] if self.held else []
            self.answer(writer, 200, {"metadata": {"resourceVersion": str(self.version)}, "items": items})

    async def _watch(self, writer: asyncio.StreamWriter, asked: Asked) -> None:
        self.begin_watch(writer, asked)
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if self.held and int(self.held["metadata"]["resourceVersion"]) > int(asked["resourceVersion"][0]) and not self.mute:
            queue.put_nowait({"type": "MODIFIED", "object": self.held})
        self._queues.append(queue)
        try:
            while not writer.is_closing():
                await self.send(writer, orjson.dumps(await queue.get()) + b"\n")
        finally:
            self._queues.remove(queue)


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


@pytest.fixture
def watched(site: Site, run: Callable[[Any], None]) -> Callable[..., None]:
    """Run a test with an API server and a transformer that asks it: `watched(go, before, route_cache=…)`, `await go(api)`."""

    def runner(go: Callable[[RouteApi], Any], before: Callable[[RouteApi], Any] | None = None, **given: Any) -> None:
        async def inside() -> None:
            async with RouteApi() as api:
                site.api = KubeApi("127.0.0.1", api.port, namespace="there")
                if before is not None:
                    before(api)
                site.make(**given)
                try:
                    await go(api)
                finally:
                    await site.transformer.close()

        run(inside())

    return runner


@pytest.fixture
def space(kubernetes: KubernetesServer) -> Space:
    return Space(kubernetes)
