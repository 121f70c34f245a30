"""The predictor as a DataPlane, in process: models of every kind from a directory, asked by many at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, InferResponse, RequestedOutput, infer
from penstock.errors import InvalidInput, NotFound, NotReady, WrongBundle
from penstock.metrics import Metrics
from penstock.onnx import load
from penstock.tensors import Tensor
from penstock.testing import models
from penstock_predictor.loading import load_directory
from penstock_predictor.predictor import Predictor
from penstock_predictor.settings import ModelSettings

QUICK = ModelSettings(max_rows=64, profile_s=0.5)


def put(directory: Path, model: bytes) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.onnx").write_bytes(model)
    return directory


def served(directory: Path, work: Callable[[Predictor], Awaitable[Any]], settings: ModelSettings = QUICK) -> Any:
    """Open the directory and run `work` on it."""

    async def run() -> Any:
        predictor = Predictor.open(directory, "m", settings)
        try:
            return await work(predictor)
        finally:
            await predictor.close()

    return asyncio.run(run())


async def ask(
    predictor: Predictor,
    model: str = "m",
    *,
    version: str | None = None,
    expect: str | None = None,
    outputs: list[str] | None = None,
    **inputs: Any,
) -> InferResponse:
    tensors = [Tensor.from_array(name, np.asarray(value)) for name, value in inputs.items()]
    wanted = None if outputs is None else [RequestedOutput(name) for name in outputs]
    return await infer(
        predictor, InferRequest(model, tensors, Context("1", expect_bundle=expect), version=version, outputs=wanted)
    )


def values(response: InferResponse) -> dict[str, Any]:
    return {tensor.name: tensor.array.tolist() for tensor in response.outputs}


X = np.zeros((1, 3), np.float32)

# Inputs that each odd model takes; the answer must be what the session gives when asked alone.
ODD_INPUTS: dict[str, dict[str, Any]] = {
    "scalars": {"a": np.float32(1), "b": np.float32(2)},
    "scaled": {"x": np.ones((2, 3), np.float32), "factor": np.float32([3])},
    "vector": {"x": np.float32([1, 4, 2, 3])},
    "fixed_centred": {"x": np.arange(12, dtype=np.float32).reshape(4, 3)},
    "ordered": {"x": np.float32([[1], [3], [2]])},
}


@pytest.mark.parametrize("kind", sorted(set(models.ODD_KINDS) - {"noisy"}))
def test_odd_models_answer_as_if_alone(kind: str, tmp_path: Path) -> None:
    model = models.ODD_KINDS[kind]()
    inputs = ODD_INPUTS.get(kind, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})
    expected = [array.tolist() for array in load(model).run({name: np.asarray(v) for name, v in inputs.items()})]

    async def work(predictor: Predictor) -> None:
        answers = await asyncio.gather(*(ask(predictor, **inputs) for _ in range(20)))
        assert [list(values(answer).values()) for answer in answers] == [expected] * 20

    served(put(tmp_path, model), work)


def mixed_request(rng: np.random.Generator, names: list[str]) -> tuple[str, dict[str, Any], list[str] | None]:
    """One of a model's: its name, its inputs, the outputs that it wants."""
    name, rows = str(rng.choice(names)), int(rng.integers(1, 9))
    floats = rng.normal(size=(rows, 3)).astype(np.float32)
    match name:
        case "several":
            wanted = [None, ["b2"], ["big", "sum"]][int(rng.integers(3))]
            return name, {"a": floats[:, :2].copy(), "b": rng.integers(0, 9, rows)}, wanted
        case "labels":
            return name, {"word": rng.choice(np.array(["a", "yes", "ü", ""], object), (rows, 1))}, None
        case "row_sum":
            return name, {"x": rng.normal(size=(rows, int(rng.integers(1, 4)))).astype(np.float32)}, None
        case "embedding":
            return name, {"index": rng.integers(0, 9 if rng.random() < 0.1 else 5, rows)}, None
    return name, {"x": floats}, None


def test_hundreds_of_mixed_requests_each_get_their_own_rows(tmp_path: Path) -> None:
    for name, model in {
        "mlp": models.mlp((3, 8, 2)),
        "several": models.several(),
        "labels": models.labels(),
        "row_sum": models.row_sum(),
        "centred": models.centred(),
        "fixed": models.fixed(4),
        "embedding": models.embedding(5),
    }.items():
        put(tmp_path / name, model)
    rng = np.random.default_rng(3)
    sessions = {path.name: load(path / "model.onnx") for path in tmp_path.iterdir()}
    plain = load(models.mlp((3, 8, 2)))

    requests = [mixed_request(rng, list(sessions)) for _ in range(600)]

    async def check(predictor: Predictor, name: str, inputs: dict[str, Any], wanted: list[str] | None) -> str:
        session = plain if name == "fixed" else sessions[name]
        try:
            expected = session.run({k: np.asarray(v) for k, v in inputs.items()}, wanted)
        except InvalidInput:
            with pytest.raises(InvalidInput):
                await ask(predictor, name, outputs=wanted, **inputs)
            return "refused"
        answer = await ask(predictor, name, outputs=wanted, **inputs)
        assert [t.name for t in answer.outputs] == (wanted or [t.name for t in session.outputs])
        for tensor, array in zip(answer.outputs, expected, strict=True):
            assert tensor.shape == array.shape
            if array.dtype == object:
                assert tensor.array.tolist() == array.tolist()
            else:
                np.testing.assert_allclose(tensor.array, array, rtol=1e-4, atol=1e-6)
        return "answered"

    async def work(predictor: Predictor) -> None:
        assert predictor.loaded("several").policy.max_rows > 1
        outcomes = await asyncio.gather(*(check(predictor, *one) for one in requests))
        assert outcomes.count("answered") > 400
        assert "refused" in outcomes

    served(tmp_path, work)


def test_versions(tmp_path: Path) -> None:
    for version, seed in (("9", 1), ("10", 2)):
        put(tmp_path / version, models.mlp((3, 4, 1), seed=seed))

    async def work(predictor: Predictor) -> None:
        newest, named, old = (
            await ask(predictor, x=X),
            await ask(predictor, x=X, version="10"),
            await ask(predictor, x=X, version="9"),
        )
        assert values(newest) == values(named) != values(old)
        assert (newest.version, old.version) == ("10", "9")
        assert (await predictor.metadata("m")).versions == ("9", "10")
        with pytest.raises(NotFound, match="no version '11'; it has 9, 10"):
            await ask(predictor, x=X, version="11")
        with pytest.raises(NotFound, match="no model 'other' here; there is m"):
            await ask(predictor, "other", x=X)

    served(tmp_path, work)


def test_the_expected_bundle_answers_or_nobody(tmp_path: Path) -> None:
    for version in ("1", "2"):
        put(tmp_path / version, models.mlp((3, 4, 1), seed=int(version)))

    async def work(predictor: Predictor) -> None:
        one, two = (predictor.loaded("m", version).digest for version in ("1", "2"))
        assert (await ask(predictor, x=X, expect=two)).bundle == f"m@{two}"
        assert (await ask(predictor, x=X, expect=one)).version == "1"
        with pytest.raises(WrongBundle, match="expected sha256:0"):
            await ask(predictor, x=X, expect="sha256:0")
        with pytest.raises(WrongBundle):
            await ask(predictor, x=X, expect=one, version="2")

    served(tmp_path, work)


def test_no_rows_give_no_rows(tmp_path: Path) -> None:
    async def work(predictor: Predictor) -> None:
        answer = await ask(predictor, a=np.zeros((0, 2), np.float32), b=np.zeros(0, np.int64), outputs=["sum", "big"])
        assert [(t.name, t.datatype, t.shape) for t in answer.outputs] == [("sum", "FP32", (0, 2)), ("big", "BOOL", (0,))]
        assert len((await ask(predictor, a=np.zeros((0, 2), np.float32), b=np.zeros(0, np.int64))).outputs) == 3

    served(put(tmp_path, models.several()), work)


def test_metadata_says_what_was_found_out(tmp_path: Path) -> None:
    async def work(predictor: Predictor) -> None:
        found = await predictor.metadata("m")
        assert found.platform == "onnxruntime_onnx"
        assert found.properties["batching"]["sharing"] == "alone"
        assert "rows interact" in found.properties["batching"]["reason"]
        assert found.properties["profile"][0]["rows"] == 1
        with pytest.raises(NotFound):
            await predictor.metadata("m", "7")

    served(put(tmp_path, models.centred()), work)


def test_the_small_files_are_given_out_and_never_the_model(tmp_path: Path) -> None:
    async def work(predictor: Predictor) -> None:
        assert b"formatVersion: 1" in await predictor.bundle_file("m", "bundle.yaml")
        for file in ("model.onnx", "../secret", "nothing.yaml"):
            with pytest.raises(NotFound):
                await predictor.bundle_file("m", file)

    served(put(tmp_path, models.mlp()), work)


def test_a_predictor_that_loads_is_not_ready_and_says_so() -> None:
    async def work() -> None:
        predictor = Predictor()
        assert not predictor.ready()
        assert not predictor.ready("m")
        with pytest.raises(NotReady, match="being loaded"):
            await ask(predictor, x=X)

    asyncio.run(work())


def test_a_model_is_replaced_between_two_requests(tmp_path: Path) -> None:
    async def work(predictor: Predictor) -> None:
        before = predictor.loaded("m").digest
        waiting = [asyncio.create_task(ask(predictor, x=X)) for _ in range(50)]
        await asyncio.sleep(0)
        put(tmp_path, models.mlp((3, 4, 1), seed=9))
        predictor.replace("m", load_directory(tmp_path, "m", QUICK))
        after = predictor.loaded("m").digest
        answers = [answer.bundle for answer in await asyncio.gather(*waiting)]
        assert answers == [f"m@{before}"] * 50
        assert (await ask(predictor, x=X)).bundle == f"m@{after}" != f"m@{before}"

    served(put(tmp_path, models.mlp((3, 4, 1), seed=8)), work)


def test_a_removed_model_answers_what_it_had_taken(tmp_path: Path) -> None:
    async def work(predictor: Predictor) -> None:
        waiting = [asyncio.create_task(ask(predictor, x=X)) for _ in range(5)]
        await asyncio.sleep(0)
        predictor.remove("m")
        assert len(await asyncio.gather(*waiting)) == 5
        assert predictor.index() == []
        with pytest.raises(NotFound):
            await ask(predictor, x=X)
        with pytest.raises(NotFound):
            predictor.remove("m")

    served(put(tmp_path, models.mlp((3, 4, 1))), work)


def test_a_draining_predictor_finishes_and_refuses(tmp_path: Path) -> None:
    async def work(predictor: Predictor) -> None:
        waiting = [asyncio.create_task(ask(predictor, x=X)) for _ in range(5)]
        await asyncio.sleep(0)
        await predictor.drain()
        assert len(await asyncio.gather(*waiting)) == 5
        assert not predictor.ready()
        with pytest.raises(NotReady):
            await ask(predictor, x=X)

    served(put(tmp_path, models.mlp((3, 4, 1))), work)


def test_a_caller_that_leaves_harms_nobody(tmp_path: Path) -> None:
    async def work(predictor: Predictor) -> None:
        tasks = [asyncio.create_task(ask(predictor, x=np.full((1, 3), n, np.float32))) for n in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for n, answer in enumerate(answers):
            if n % 3:
                assert isinstance(answer, InferResponse)
                assert answer.outputs[0].array.tolist() == [[2 * n] * 3]

    served(put(tmp_path, models.doubled()), work)


def test_the_cost_profile_is_exported(tmp_path: Path) -> None:
    async def work() -> None:
        metrics = Metrics()
        predictor = Predictor.open(put(tmp_path, models.mlp()), "m", ModelSettings(max_rows=4), metrics=metrics)
        families = {family.name: family for family in metrics.collect()}
        rows = [sample.labels["rows"] for sample in families["penstock_run_cost_seconds"].samples]
        assert rows == ["1", "2", "4"]
        assert len(families["penstock_run_cost_bytes"].samples) == 3
        await ask(predictor, x=np.zeros((1, 32), np.float32))
        assert metrics.model("m", predictor.loaded("m").label).items == 1
        await predictor.close()

    asyncio.run(work())


def test_cheap_models_run_in_one_thread(tmp_path: Path) -> None:
    put(tmp_path, models.mlp())
    # On a machine that does much else a measurement may come out dear; not every one.
    loads = (load_directory(tmp_path, "m", ModelSettings(profile_s=0.2))[0] for _ in range(10))
    loaded = next(load for load in loads if load.session.threads == 1)
    assert loaded.policy.inline_rows > 0


@pytest.mark.parametrize("broken", [b"", b"not a model", models.mlp()[:500]])
def test_a_file_that_is_not_a_model_is_named(tmp_path: Path, broken: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"model\.onnx"):
        Predictor.open(put(tmp_path, broken), "m")


def test_external_data_outside_the_directory_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "model"
    inner.mkdir()
    models.save_external(inner, "../weights.bin", actual=tmp_path / "weights.bin")
    with pytest.raises(InvalidInput, match="outside"):
        Predictor.open(inner, "m")


def test_external_data_inside_counts_for_the_digest(tmp_path: Path) -> None:
    models.save_external(tmp_path)
    first = load_directory(tmp_path, "m", QUICK)[0].digest
    weights = bytearray((tmp_path / "weights.bin").read_bytes())
    weights[random.Random(0).randrange(len(weights))] ^= 1
    (tmp_path / "weights.bin").write_bytes(weights)
    assert load_directory(tmp_path, "m", QUICK)[0].digest != first
