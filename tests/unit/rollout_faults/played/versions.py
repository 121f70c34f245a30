"""The versions of a story: their bundles, and what is wrong with each."""

import math

from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.dataplane import TensorMetadata
from penstock.testing.bundles import FakePredictor
from penstock_transformer.active import ActiveBundle

OLD, NEW, FORMER = "sha256:" + "a" * 64, "sha256:" + "b" * 64, "sha256:" + "c" * 64
NAMES = {"flights-0": FORMER, "flights-1": OLD, "flights-2": NEW}
COLD_S = 20.0
LABELLED = PostprocessSpec("classification", "y", labels=("on time", "late"))
SIGNATURE = ModelSignature("model.onnx", (), (TensorMetadata("y", "FP32", (-1, 2)),), True)
BUNDLES = {
    digest: ActiveBundle(Manifest("flights", name, SIGNATURE, LABELLED, {}), digest, FakePredictor({}), "flights")
    for name, digest in NAMES.items()
}


class Versions:
    """What is wrong with each version: the part of its requests that fails, how many times as long it takes, of the new one also
    only with all requests; and whether its labels are swapped. `cold`: how many times as long the new one takes for `COLD_S` from
    its first request, or from `cold_since`. `load`: how busy the pods of either would be with all requests, as one queue each.
    `copied`: how many times as long a copy takes as a request, of either."""

    def __init__(self) -> None:
        self.failing = dict.fromkeys(NAMES.values(), 0.0)
        self.failing_alone = 0.0
        self.slower = dict.fromkeys(NAMES.values(), 1.0)
        self.slower_alone = 1.0
        self.swapped = False
        self.cold, self.cold_since = 1.0, math.nan
        self.load = 0.0
        self.copied = 1.0

    def slowness(self, digest: str, now: float, share: float) -> float:
        """How many times as long a request takes as of an idle pod. `share`: the part of all requests that the version gets."""
        slower = self.slower[digest] / (1.0 - self.load * share)
        if digest == NEW and self.cold > 1.0:
            self.cold_since = now if math.isnan(self.cold_since) else self.cold_since
            slower *= self.cold if 0.0 <= now - self.cold_since < COLD_S else 1.0
        return slower
