"""What failed, and what was replaced, is let go of there and then, and not when the garbage collector comes: that one counts
objects, of which a single one may hold megabytes."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest
from penstock.errors import InvalidInput
from penstock.onnx import load
from penstock.onnx.binding import BoundRun
from penstock.tensors import Tensor
from penstock.testing import models
from penstock_predictor.axes import BatchRule, Sharing
from penstock_predictor.runner import Runner
from penstock_predictor.work import Plans


class Array(np.ndarray[Any, Any]):
    """An array that can be watched."""


class Deaf:
    """A caller who keeps nothing."""

    disconnected = False

    def put(self, _: Any) -> None: ...

    def error(self, _: Any) -> None: ...


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("works", [1, 3])
def test_a_request_whose_run_failed(works: int) -> None:
    session = load(models.embedding(5))
    runner = Runner(session, BatchRule(Sharing.FREE, ""), 64, model="m", version="1", bundle="m@sha256:0")
    plans = Plans(session.inputs, session.outputs, BatchRule(Sharing.FREE, ""))
    sent = np.array([77]).view(Array)
    watched = weakref.ref(sent)
    taken = [plans.take(InferRequest("m", [Tensor.from_array("index", sent)], Context("1")), Deaf()) for _ in range(works)]
    outcome = runner.run(taken)
    assert all(isinstance(each, InvalidInput) for each in outcome.each or ())
    runner.deliver(taken, outcome)
    del sent, taken, outcome
    assert watched() is None


@pytest.mark.usefixtures("no_collector")
def test_a_bound_run_lets_go_of_its_session() -> None:
    session = load(models.embedding(5))
    bound = BoundRun(session, {"index": np.array([0])}, session.run({"index": np.array([0])}))
    native = weakref.ref(session._session._sess)  # type: ignore[union-attr]
    session.close()
    bound.close()
    assert native() is None
