"""The runner: one run for many, each caller its own rows, and nobody's failure another's."""

from typing import Any

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, InferResponse, RequestedOutput
from penstock.errors import ErrorKind, Internal, Overloaded, PenstockError
from penstock.onnx import Session, load
from penstock.onnx.binding import BoundRun
from penstock.tensors import Tensor
from penstock.testing import models
from penstock_predictor.axes import BatchRule, Sharing
from penstock_predictor.runner import Outcome, Runner
from penstock_predictor.work import Plans, Work

FREE = BatchRule(Sharing.FREE, "")
ALONE = BatchRule(Sharing.ALONE, "")


class Caller:
    """A reply that keeps what it was given."""

    disconnected = False

    def __init__(self, broken: bool = False) -> None:
        self.response: InferResponse | None = None
        self.failure: PenstockError | None = None
        self.broken = broken

    def put(self, response: InferResponse) -> None:
        if self.broken:
            raise RuntimeError("encoder broke")
        self.response = response

    def error(self, error: PenstockError) -> None:
        self.failure = error

    def outputs(self) -> dict[str, Any]:
        assert self.response is not None, self.failure
        return {tensor.name: tensor.array.tolist() for tensor in self.response.outputs}


class Bench:
    """A runner over a model, fed with requests by hand."""

    def __init__(self, model: bytes, rule: BatchRule = FREE, max_rows: int = 64, one_row: Any = None) -> None:
        self.session = load(model)
        if one_row is not None:
            one_row = BoundRun(self.session, one_row, self.session.run(one_row))
        self.runner = Runner(self.session, rule, max_rows, model="m", version="1", bundle="m@sha256:0", one_row=one_row)
        self.plans = Plans(self.session.inputs, self.session.outputs, rule)
        self.works: list[Work] = []

    def ask(self, *, outputs: list[str] | None = None, broken: bool = False, **inputs: Any) -> Caller:
        caller = Caller(broken)
        tensors = [Tensor.from_array(name, np.asarray(value)) for name, value in inputs.items()]
        wanted = None if outputs is None else [RequestedOutput(name) for name in outputs]
        self.works.append(self.plans.take(InferRequest("m", tensors, Context("1"), outputs=wanted), caller))
        return caller

    def run(self) -> Outcome:
        outcome = self.runner.run(self.works)
        for _ in self.runner.deliver(self.works, outcome) or ():
            pass
        return outcome


def counting(session: Session) -> list[int]:
    """Rows of each run that the session makes from now on."""
    runs: list[int] = []
    real = session.run

    def run(feeds: Any, outputs: Any = None, *, shrink: bool = False) -> Any:
        runs.append(len(next(iter(feeds.values()))))
        return real(feeds, outputs, shrink=shrink)

    session.run = run  # type: ignore[method-assign]
    return runs


def test_many_callers_one_run_each_its_own_rows() -> None:
    bench = Bench(models.several())
    runs = counting(bench.session)
    callers = [bench.ask(a=np.full((n, 2), n, np.float32), b=np.full(n, n)) for n in (1, 3, 2)]
    bench.run()
    assert runs == [6]
    for n, caller in zip((1, 3, 2), callers, strict=True):
        assert caller.outputs() == {"sum": [[2 * n, 2 * n]] * n, "big": [n > 2] * n, "b2": [2 * n] * n}


def test_each_caller_gets_the_outputs_it_asked_for_in_its_order() -> None:
    bench = Bench(models.several())
    one = bench.ask(a=np.zeros((1, 2), np.float32), b=[1], outputs=["b2", "sum"])
    other = bench.ask(a=np.zeros((1, 2), np.float32), b=[5], outputs=["big"])
    everything = bench.ask(a=np.zeros((1, 2), np.float32), b=[2])
    bench.run()
    assert list(one.outputs()) == ["b2", "sum"]
    assert other.outputs() == {"big": [True]}
    assert list(everything.outputs()) == ["sum", "big", "b2"]


def test_only_outputs_that_somebody_wants_are_computed() -> None:
    bench = Bench(models.several())
    callers = [bench.ask(a=np.zeros((1, 2), np.float32), b=[5], outputs=[name]) for name in ("big", "b2")]
    outcome = bench.run()
    assert outcome.shared is not None
    assert set(outcome.shared) == {"big", "b2"}
    assert [caller.outputs() for caller in callers] == [{"big": [True]}, {"b2": [10]}]


def test_one_callers_bad_values_fail_that_caller_alone() -> None:
    bench = Bench(models.embedding(5))
    good, bad, other = bench.ask(index=[1]), bench.ask(index=[77]), bench.ask(index=[2, 0])
    bench.run()
    assert good.outputs() == {"y": [[2, 3]]}
    assert other.outputs() == {"y": [[4, 5], [0, 1]]}
    assert bad.failure is not None
    assert bad.failure.kind is ErrorKind.INVALID_INPUT


def test_one_callers_answer_that_cannot_be_written_fails_that_caller_alone() -> None:
    bench = Bench(models.doubled())
    callers = [bench.ask(x=np.full((1, 3), n, np.float32), broken=n == 1) for n in range(3)]
    bench.run()
    assert isinstance(callers[1].failure, Internal)
    assert callers[0].outputs() == {"y": [[0, 0, 0]]}
    assert callers[2].outputs() == {"y": [[4, 4, 4]]}


def test_a_fault_of_ours_is_internal_and_keeps_its_detail() -> None:
    bench = Bench(models.doubled())
    caller = bench.ask(x=np.zeros((1, 3), np.float32))

    def run(feeds: Any, outputs: Any = None, *, shrink: bool = False) -> Any:
        raise RuntimeError("secret detail")

    bench.session.run = run  # type: ignore[method-assign]
    bench.run()
    assert isinstance(caller.failure, Internal)
    assert "secret" not in str(caller.failure)


def test_strings_travel_in_batches_too() -> None:
    bench = Bench(models.labels())
    callers = [bench.ask(word=np.array([[word]], object)) for word in ("yes", "ü", b"b")]
    bench.run()
    assert [caller.outputs() for caller in callers] == [
        {"index": [[3]], "same": [["yes"]]},
        {"index": [[-1]], "same": [["ü"]]},
        {"index": [[1]], "same": [["b"]]},
    ]


def test_float16_and_bool_travel_in_batches() -> None:
    bench = Bench(models.half())
    callers = [bench.ask(x=np.full((1, 3), n, np.float16)) for n in (0.5, 1.5)]
    bench.run()
    assert [caller.outputs() for caller in callers] == [{"y": [[1.0] * 3]}, {"y": [[3.0] * 3]}]


@pytest.mark.parametrize("works", [1, 3])
def test_any_byte_but_zero_is_true(works: int) -> None:
    bench = Bench(models.negated())
    callers = []
    for _ in range(works):
        caller = Caller()
        tensor = Tensor.from_raw("x", "BOOL", (1, 2), b"\x00\x02")
        bench.works.append(bench.plans.take(InferRequest("m", [tensor], Context("1")), caller))
        callers.append(caller)
    bench.run()
    assert [caller.outputs() for caller in callers] == [{"y": [[True, False]]}] * works


def test_bytes_that_start_anywhere_are_aligned() -> None:
    bench = Bench(models.doubled())
    caller = Caller()
    body = b"!" + np.float32([1, 2, 3]).tobytes()
    tensor = Tensor.from_raw("x", "FP32", (1, 3), memoryview(body)[1:])
    bench.works.append(bench.plans.take(InferRequest("m", [tensor], Context("1")), caller))
    bench.run()
    assert caller.outputs() == {"y": [[2, 4, 6]]}


def test_a_request_over_the_limit_takes_several_runs() -> None:
    bench = Bench(models.doubled(), max_rows=4)
    runs = counting(bench.session)
    rows = np.arange(30, dtype=np.float32).reshape(10, 3)
    caller = bench.ask(x=rows)
    bench.run()
    assert runs == [4, 4, 2]
    assert caller.outputs() == {"y": (rows * 2).tolist()}


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 11])
def test_a_fixed_size_is_padded_and_cut(rows: int) -> None:
    bench = Bench(models.fixed(4), BatchRule(Sharing.FIXED, "", 4))
    runs = counting(bench.session)
    values = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    caller = bench.ask(x=values)
    bench.run()
    assert set(runs) == {4}
    (expected,) = load(models.mlp((3, 8, 2))).run({"x": values})
    np.testing.assert_allclose(caller.outputs()["y"], expected, rtol=1e-4)


def test_callers_share_the_runs_of_a_fixed_size() -> None:
    bench = Bench(models.fixed(4), BatchRule(Sharing.FIXED, "", 4))
    runs = counting(bench.session)
    callers = [bench.ask(x=np.full((1, 3), n, np.float32)) for n in range(3)]
    bench.run()
    assert runs == [4]
    (expected,) = load(models.mlp((3, 8, 2))).run({"x": np.repeat(np.float32([[0], [1], [2]]), 3, axis=1)})
    np.testing.assert_allclose([caller.outputs()["y"][0] for caller in callers], expected, rtol=1e-4)


def test_outputs_without_rows_come_whole() -> None:
    bench = Bench(models.total(), BatchRule(Sharing.ALONE, ""))
    caller = bench.ask(x=np.ones((4, 3), np.float32))
    bench.run()
    assert caller.outputs() == {"y": 12.0}


def test_a_batch_that_comes_back_with_other_rows_is_run_singly() -> None:
    # A rule that was found wrong after all: the answer is still right.
    bench = Bench(models.turned())
    callers = [bench.ask(x=np.full((1, 3), n, np.float32)) for n in (1, 2)]
    bench.run()
    assert [caller.outputs() for caller in callers] == [{"y": [[1], [1], [1]]}, {"y": [[2], [2], [2]]}]


def test_one_row_alone_takes_the_bound_run() -> None:
    bench = Bench(models.embedding(5), one_row={"index": np.array([0])})
    runs = counting(bench.session)
    caller = bench.ask(index=[3])
    bench.run()
    assert caller.outputs() == {"y": [[6, 7]]}
    assert runs == []


def test_a_bound_run_that_fails_is_explained_by_a_plain_one() -> None:
    bench = Bench(models.embedding(5), one_row={"index": np.array([0])})
    caller = bench.ask(index=[9])
    bench.run()
    assert caller.failure is not None
    assert caller.failure.kind is ErrorKind.INVALID_INPUT


# --- memory that runs out

# As ONNX Runtime 1.31 words them, of the CUDA arena, the CPU's, and CUDA itself.
EXHAUSTED = [
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Gemm node. Name:'' Status Message: "
    "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate "
    "memory for requested buffer of size 4294967296",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc",
    "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 2: out of memory ; GPU=0 ; hostname=h",
]


def short_of_memory(session: Session, most_rows: int, text: str) -> list[tuple[int, bool]]:
    """The session's device holds runs of up to `most_rows`; each run's rows and whether it shrank the arena."""
    runs: list[tuple[int, bool]] = []
    real: Any = session._run

    def run(names: Any, feeds: Any, options: Any) -> Any:
        rows = len(next(iter(feeds.values())))
        runs.append((rows, options is not None))
        if rows > most_rows:
            raise RuntimeError(text)
        return real(names, feeds, options)

    session._run = run
    return runs


@pytest.mark.parametrize("text", EXHAUSTED)
def test_a_batch_that_does_not_fit_is_run_in_smaller_ones(text: str) -> None:
    bench = Bench(models.doubled())
    runs = short_of_memory(bench.session, 3, text)
    callers = [bench.ask(x=np.full((n, 3), n, np.float32)) for n in (1, 9, 2)]
    bench.run()
    for n, caller in zip((1, 9, 2), callers, strict=True):
        assert caller.outputs() == {"y": [[2 * n] * 3] * n}
    assert [rows for rows, _ in runs] == [12, 6, 3, 3, 3, 3]
    assert [shrunk for _, shrunk in runs][1:] == [True] * 5
    # What was learned stays for the next batch, and is tried again after a while.
    runs.clear()
    bench.run()
    assert [rows for rows, _ in runs] == [3, 3, 3, 3]
    assert bench.runner.max_rows == 3
    for _ in range(500):
        bench.run()
    assert bench.runner.max_rows == 3
    assert any(rows == 6 for rows, _ in runs)


def test_a_row_that_does_not_fit_fails_its_caller_alone_and_clearly() -> None:
    bench = Bench(models.row_sum(), ALONE)
    real: Any = bench.session._run

    def run(names: Any, feeds: Any, options: Any) -> Any:
        if feeds["x"].shape[1] > 100:
            raise RuntimeError(EXHAUSTED[0])
        return real(names, feeds, options)

    bench.session._run = run
    small, large = (bench.ask(x=np.ones((2, n), np.float32)) for n in (3, 200))
    bench.run()
    assert small.outputs() == {"y": [3, 3]}
    assert isinstance(large.failure, Overloaded)
    assert "memory" in str(large.failure)
    bench.works.clear()
    again = bench.ask(x=np.ones((2, 3), np.float32))
    bench.run()
    assert again.outputs() == {"y": [3, 3]}


def test_one_row_of_many_that_does_not_fit() -> None:
    bench = Bench(models.doubled())
    short_of_memory(bench.session, 0, EXHAUSTED[2])
    callers = [bench.ask(x=np.ones((2, 3), np.float32)) for _ in range(2)]
    bench.run()
    assert [type(caller.failure).__name__ for caller in callers] == ["OutOfMemory"] * 2


def test_a_giant_among_small_requests_gives_its_memory_back() -> None:
    bench = Bench(models.row_sum())
    runs = short_of_memory(bench.session, 10**9, "")
    for length in (10, 1000, 600_000, 10, 600_000):
        bench.works.clear()
        bench.ask(x=np.ones((1, length), np.float32))
        bench.run()
    # The second of two so close together is no surprise.
    assert [shrunk for _, shrunk in runs] == [False, False, True, False, False]
