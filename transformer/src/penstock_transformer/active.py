"""A bundle in use: verified, its encoder warm, its predictor and its store at hand.

Everything that a batch needs of a bundle hangs on one `ActiveBundle`; routes are made of them. A bundle that leaves the route is
closed when the last batch that uses it is done, never before: `use` and `release` count.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from penstock.bundle.manifest import Manifest
from penstock.columns import Column
from penstock.dataplane import DataPlane
from penstock.evidence.profiles import NOTHING, Profile
from penstock.features.encoder import Encoder
from penstock.features.images import Decoding
from penstock.features.texts import Truncated
from penstock.features.values import column_of
from penstock.postprocess import Postprocessor
from penstock.tensors import Array
from penstock.zero_shot import ZeroShot
from penstock_transformer.encoded import EncodedCheck
from penstock_transformer.encoding_threads import EncodingThreads
from penstock_transformer.plan import FetchPlan
from penstock_transformer.store.port import FeatureStore
from penstock_transformer.token_lengths import TokenLengths

# Encoding that is expected to take longer than this runs in a thread, so that the loop goes on answering others.
_INLINE_S = 0.002
# Characters of text that take about as long to be taken apart: half a microsecond each, measured with a BERT's tokenizer.
_INLINE_CHARACTERS = 4096
# Rows of the runs that the cost of a row is measured by, and how often: the fastest counts, others met a busy machine.
_FEW, _MANY, _TIMES = 1, 257, 3

_closing: set[asyncio.Task[Any]] = set()


class ActiveBundle:
    """One bundle behind one predictor. `plan`, `encoder` and its `check` are None for a bundle without features.

    `digest` is `sha256:…`, or "" for a foreign server that has no bundles; then `expect` is None and nothing is verified, and
    `identity`, by which callers stick to a bundle, is where that server is.
    `independent`: rows of different callers may share a call. `profile`: what training looked like, for the evidence's bins.
    """

    __slots__ = (
        "_close",
        "_images",
        "_inline_rows",
        "_retired",
        "_threads",
        "_users",
        "check",
        "digest",
        "encoder",
        "expect",
        "identity",
        "independent",
        "label",
        "lengths",
        "manifest",
        "plan",
        "postprocessor",
        "predictor",
        "predictor_model",
        "profile",
        "store",
        "version",
        "zero_shot",
    )

    def __init__(
        self,
        manifest: Manifest,
        digest: str,
        predictor: DataPlane,
        predictor_model: str,
        *,
        plan: FetchPlan | None = None,
        encoder: Encoder | None = None,
        store: FeatureStore | None = None,
        identity: str = "",
        profile: Profile = NOTHING,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.manifest = manifest
        self.digest = digest
        self.expect = digest or None
        self.identity = identity or digest
        self.label = f"{manifest.name}@{digest}" if digest else manifest.name
        self.version = manifest.version
        self.predictor = predictor
        self.predictor_model = predictor_model
        self.plan = plan
        self.encoder = encoder
        self.check = EncodedCheck(encoder.plan) if encoder is not None else None
        self.lengths = TokenLengths.of(encoder.plan) if encoder is not None else None
        self.store = store
        self.postprocessor = Postprocessor(manifest.postprocess, manifest)
        self.profile = profile
        features = plan.spec if plan is not None else None
        self.zero_shot = ZeroShot(manifest, features) if manifest.postprocess.zero_shot is not None else None
        self.independent = manifest.model.rows_independent is True
        self._close = close
        self._images = plan is not None and any(f.type == "image" for f in plan.spec.features)
        self._threads: EncodingThreads | None = None
        self._inline_rows = 64
        self._users = 0
        self._retired = False

    async def encode(
        self,
        columns: dict[str, Column],
        rows: int,
        go_on: Callable[[], None] | None = None,
        truncated: Truncated | None = None,
    ) -> dict[str, Array]:
        """The model's input tensors for `rows` > 0 rows that the policies have passed; off the loop where it would hold it up.

        `go_on` is called before each image, in a thread: it raises once nobody waits. `truncated` is told which texts were cut.
        Raises InvalidInput for a value that cannot be encoded (an image that is not one), TooLarge for more pixels or text than
        one request may have, Overloaded."""
        encoder = self.encoder
        assert encoder is not None
        threads = self._threads
        if threads is not None and (self._images or encoder.texts.size(columns) > _INLINE_CHARACTERS):
            decoding = Decoding(go_on or _nothing) if self._images else None
            return await threads.run(lambda: encoder.encode(columns, checked=True, decoding=decoding, truncated=truncated))
        if rows > self._inline_rows:
            return await asyncio.to_thread(encoder.encode, columns, checked=True, truncated=truncated)
        return encoder.encode(columns, checked=True, truncated=truncated)

    async def warm(self) -> None:
        """Run the encoder until its cost is known, on rows of nothing but missing values. Images and texts get threads of their
        own."""
        if self.encoder is None or self.plan is None:
            return
        if self._images or self.encoder.texts.names:
            self._threads = self._threads or EncodingThreads()
        if self._images:
            return
        cost_s = [await asyncio.to_thread(self._measure, rows) for rows in (_FEW, _MANY)]
        row_s = max((cost_s[1] - cost_s[0]) / (_MANY - _FEW), 1e-9)
        self._inline_rows = int(_INLINE_S / row_s)

    def _measure(self, rows: int) -> float:
        assert self.encoder is not None
        assert self.plan is not None
        columns = {f.name: column_of([None] * rows, f.type, f.name, length=f.length) for f in self.plan.spec.features}
        found = []
        for _ in range(_TIMES):
            started = time.perf_counter()
            self.encoder.encode(columns, checked=True)
            found.append(time.perf_counter() - started)
        return min(found)

    def use(self) -> None:
        """One more batch works with this bundle."""
        self._users += 1

    def release(self) -> "asyncio.Task[Any] | None":
        """A batch is done with it; the task that closes it, if that was the last and the route has left it behind."""
        self._users -= 1
        return self._closing()

    def retire(self) -> "asyncio.Task[Any] | None":
        """The route no longer holds this bundle: close it once nobody uses it."""
        self._retired = True
        return self._closing()

    def _closing(self) -> "asyncio.Task[Any] | None":
        if not self._retired or self._users:
            return None
        if self._threads is not None:
            self._threads.close()
        if self._close is None:
            return None
        close, self._close = self._close, None
        task: asyncio.Task[Any] = asyncio.ensure_future(close())
        # The loop itself holds tasks weakly, and this bundle may be gone before its connections are.
        _closing.add(task)
        task.add_done_callback(_closing.discard)
        return task


def _nothing() -> None:
    return
