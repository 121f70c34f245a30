"""Texts in the pipeline: batches of different lengths, what was cut, what is too long, and labels of several callers."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from penstock.bundle.manifest import PostprocessSpec, ZeroShotSpec
from penstock.dataplane import Context, InferRequest, TensorMetadata, infer
from penstock.errors import InvalidInput, TooLarge
from penstock.features.encoder import Encoder
from penstock.tensors import Array, Tensor
from penstock.testing.bundles import FakePredictor, bundle_files
from penstock.testing.tokenizer import SPECIAL, WORDS, tokenizer_json
from penstock_cli.greeting import greeting
from penstock_transformer import active
from penstock_transformer.routing import Route, Target

PARTS = ("input_ids", "attention_mask", "token_type_ids")
WIDTH = len(SPECIAL) + len(WORDS)
TEXT = """
formatVersion: 1
features: [{name: text, from: request, type: string, encode: {tokenise: {file: tokenizer.json, maxLength: 8, maxBytes: 9000}}}]
tensors: {input_ids: [text], attention_mask: [text], token_type_ids: [text]}
"""
PAIRS = """
formatVersion: 1
features:
  - {name: text, from: request, type: string, encode: {tokenise: {file: tokenizer.json, maxLength: 12, with: claim}}}
  - {name: claim, from: request, type: string}
tensors: {input_ids: [text], attention_mask: [text], token_type_ids: [text]}
"""
SIMILAR = PostprocessSpec("zeroShot", "y", zero_shot=ZeroShotSpec("text", temperature=0.1))
ENTAILED = PostprocessSpec("zeroShot", "y", zero_shot=ZeroShotSpec("claim", "it is {} .", entailment=0))


def text_files(features: str = TEXT, postprocess: PostprocessSpec | None = None, width: int = WIDTH) -> dict[str, bytes]:
    return bundle_files(
        features,
        inputs=tuple(TensorMetadata(part, "INT64", (-1, -1)) for part in PARTS),
        outputs=(TensorMetadata("y", "FP32", (-1, width)),),
        postprocess=postprocess or PostprocessSpec("raw"),
        files={"tokenizer.json": tokenizer_json()},
    )


def bag_of_words(tensors: dict[str, Array]) -> dict[str, Array]:
    """How often each word is in a row: padding has id 0 and is left out by the mask."""
    counts = np.zeros((len(tensors["input_ids"]), WIDTH), np.float32)
    for row, (ids, mask) in enumerate(zip(tensors["input_ids"], tensors["attention_mask"], strict=True)):
        np.add.at(counts[row], ids[mask == 1], 1)
    counts[:, : len(SPECIAL)] = 0
    return {"y": counts}


def shared_words(tensors: dict[str, Array]) -> dict[str, Array]:
    """Entailment of a pair: how many of the second text's words are in the first."""
    found = []
    for ids, types, mask in zip(*(tensors[part] for part in ("input_ids", "token_type_ids", "attention_mask")), strict=True):
        first, second = set(ids[(types == 0) & (mask == 1)]), set(ids[(types == 1) & (mask == 1)])
        found.append([len((first & second) - set(range(len(SPECIAL)))), 0.0, 1.0])
    return {"y": np.array(found, np.float32)}


def told(response: Any) -> list[int]:
    vector = np.array(response.predictions[0]["outputs"]["y"])
    return [int(place) for place in np.flatnonzero(vector)]


def test_callers_of_one_batch_get_what_they_would_get_alone(bench: Callable[..., Any], run: Callable[..., Any]) -> None:
    async def body() -> None:
        texts = ["late", "the flight was late , and this is about nothing", "", "the team won"]
        async with bench(text_files(), store=False) as b:
            b.predictor.compute = bag_of_words
            replies = [b.send([{"text": text}]) for text in texts]
            together = [await reply.future for reply in replies]
            batched = [call.inputs[0].shape for call in b.predictor.calls]
            alone = [await b.ask([{"text": text}]) for text in texts]
        assert max(shape[0] for shape in batched) > 1
        for one, other in zip(together, alone, strict=True):
            assert one.predictions == other.predictions
        assert [r.predictions[0]["truncated"] for r in together] == [[], ["text"], [], []]
        assert together[0].predictions[0]["data"] == {"text": "late"}

    run(body())


def test_a_text_beyond_the_limit_fails_its_own_caller_alone(bench: Callable[..., Any], run: Callable[..., Any]) -> None:
    async def body() -> None:
        async with bench(text_files(), store=False) as b:
            b.predictor.compute = bag_of_words
            good, bad = b.send([{"text": "late"}]), b.send([{"text": "a"}, {"text": "x" * 9001}])
            assert told(await good.future) == [len(SPECIAL) + WORDS.index("late")]
            with pytest.raises(TooLarge) as caught:
                await bad.future
        assert caught.value.field == "rows[1].text"

    run(body())


def test_long_texts_are_taken_apart_in_a_thread_and_short_ones_on_the_loop(
    bench: Callable[..., Any], run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    encode = Encoder.encode

    def watched(self: Encoder, *given: Any, **more: Any) -> Any:
        threads.append(threading.current_thread().name)
        return encode(self, *given, **more)

    async def body() -> None:
        async with bench(text_files(), store=False) as b:
            b.predictor.compute = bag_of_words
            monkeypatch.setattr(Encoder, "encode", watched)
            await b.ask([{"text": "late"}])
            await b.ask([{"text": "late " * (active._INLINE_CHARACTERS // 5 + 1)}])
        assert threads[0] == threading.main_thread().name
        assert threads[1].startswith("encoding")

    run(body())


def test_labels_of_several_callers_share_a_batch_and_each_gets_its_own(
    bench: Callable[..., Any], run: Callable[..., Any]
) -> None:
    async def body() -> None:
        async with bench(text_files(postprocess=SIMILAR), store=False) as b:
            b.predictor.compute = bag_of_words
            rows = [{"text": "the flight was late"}, {"text": "the team won"}]
            first = b.send(rows, options={"labels": ["team", "flight"], "data": False})
            second = b.send([{"text": "money"}], options={"labels": ["money", "sport", "travel"]})
            wrong = b.send([{"text": "money"}], options={"labels": ["money", "money"]})
            unnamed = b.send([{"text": "money"}])
            flight, team = (await first.future).predictions
            assert list(flight["scores"]) == ["flight", "team"]
            assert (flight["label"], team["label"]) == ("flight", "team")
            assert "data" not in flight
            (money,) = (await second.future).predictions
            assert money["label"] == "money"
            assert money["data"] == {"text": "money"}
            assert list(money["scores"].values()) == sorted(money["scores"].values(), reverse=True)
            for reply, field in ((wrong, "options.labels[1]"), (unnamed, "options.labels")):
                with pytest.raises(InvalidInput) as caught:
                    await reply.future
                assert caught.value.field == field

            before = len(b.predictor.calls)
            again = await b.ask(rows[:1], options={"labels": ["flight", "team"]})
            assert again.predictions[0]["scores"] == pytest.approx(flight["scores"])
            assert [call.inputs[0].shape[0] for call in b.predictor.calls[before:]] == [1]

    run(body())


def test_rows_are_run_with_every_label_where_the_model_reads_pairs(bench: Callable[..., Any], run: Callable[..., Any]) -> None:
    async def body() -> None:
        async with bench(text_files(PAIRS, ENTAILED, 3), store=False) as b:
            b.predictor.compute = shared_words
            rows = [{"text": "the flight was late"}, {"text": "the team won"}]
            answer = await b.ask(rows, options={"labels": ["late", "team", "money"]})
            assert [prediction["label"] for prediction in answer.predictions] == ["late", "team"]
            assert answer.predictions[0]["data"] == {"text": "the flight was late"}
            assert b.predictor.calls[-1].inputs[0].shape[0] == 6
            error = await b.fails(TooLarge, rows, options={"labels": ["late", "x" * 1001]})
            assert error.field == "options.labels[1]"
            error = await b.fails(InvalidInput, [{"text": 5}], options={"labels": ["a", "b"]})
            assert error.field == "rows[0].text"

    run(body())


def test_metadata_and_greeting_say_that_labels_come_with_the_request(bench: Callable[..., Any], run: Callable[..., Any]) -> None:
    async def body() -> None:
        async with bench(text_files(postprocess=SIMILAR), store=False) as b:
            properties = (await b.transformer.metadata("flights")).properties
            assert properties["labels"] == {"default": [], "most": 100}
            assert '"options": {"labels": ["one label", "another"]}' in await greeting(b.transformer, "http://x")
            assert "open http://x/docs" in await greeting(b.transformer, "http://x")
            guarded = await greeting(b.transformer, "https://x", guarded=True)
            assert "-H 'Authorization: Bearer KEY'\nKEY is an API key" in guarded
            assert "/docs" not in guarded

    run(body())


def test_a_label_that_the_step_refuses_is_named_as_a_label(bench: Callable[..., Any], run: Callable[..., Any]) -> None:
    async def body() -> None:
        async with bench(text_files(TEXT.replace("9000", "10"), SIMILAR), store=False) as b:
            b.predictor.compute = bag_of_words
            error = await b.fails(TooLarge, [{"text": "late"}], options={"labels": ["late", "much too long"]})
            assert error.field == "options.labels[1]"

    run(body())


def test_who_wants_tensors_gets_the_models_own_and_no_labels(bench: Callable[..., Any], run: Callable[..., Any]) -> None:
    async def body() -> None:
        async with bench(text_files(postprocess=SIMILAR), store=False) as b:
            b.predictor.compute = bag_of_words
            texts = np.array(["late", "the team"], object)
            answer = await infer(b.transformer, InferRequest("flights", [Tensor.from_array("text", texts)], Context("r")))
            assert answer.outputs[0].shape == (2, WIDTH)

    run(body())


def test_columns_of_bulk_are_judged_like_rows(bench: Callable[..., Any], run: Callable[..., Any]) -> None:
    async def body() -> None:
        async with bench(text_files(postprocess=SIMILAR), store=False) as b:
            b.predictor.compute = bag_of_words
            columns = {"text": np.array(["the flight", "the team"], object)}
            for _ in range(2):
                answer = await b.ask(columns=columns, options={"labels": ["team", "flight"]})
                assert [prediction["label"] for prediction in answer.predictions] == ["flight", "team"]

    run(body())


def test_labels_are_refused_where_nothing_judges_them(bench: Callable[..., Any], run: Callable[..., Any]) -> None:
    async def body() -> None:
        async with bench(text_files(), store=False) as b:
            error = await b.fails(InvalidInput, [{"text": "late"}], options={"labels": ["a"]})
            assert (error.field, error.message) == ("options.labels", "this model has labels of its own; leave them out")
        async with bench(text_files(postprocess=SIMILAR), store=False) as b:
            error = await b.fails(InvalidInput, record_id="7")
            assert "answers rows, not records" in error.message

    run(body())


def test_a_predictor_that_rolls_meanwhile_is_asked_again_about_the_same_labels(
    bench: Callable[..., Any], run: Callable[..., Any]
) -> None:
    async def body() -> None:
        async with bench(text_files(postprocess=SIMILAR), store=False, predictor_poll_s=0.05) as b:
            predictor: FakePredictor = b.predictor
            predictor.compute = bag_of_words
            predictor.files = text_files(PAIRS, ENTAILED, 3)
            predictor.compute = shared_words
            async with asyncio.timeout(20):
                answer = await b.ask(columns={"text": np.array(["the team won"], object)}, options={"labels": ["late", "team"]})
            assert answer.predictions[0]["label"] == "team"
            assert predictor.calls[-1].inputs[0].shape[0] == 2

    run(body())


@pytest.mark.parametrize(("features", "postprocess", "compute"), [(TEXT, SIMILAR, bag_of_words), (PAIRS, ENTAILED, shared_words)])
def test_copies_for_a_shadow_are_judged_by_the_labels_that_came_with_the_request(
    features: str, postprocess: PostprocessSpec, compute: Any, bench: Callable[..., Any], run: Callable[..., Any]
) -> None:
    async def body() -> None:
        width = WIDTH if postprocess is SIMILAR else 3
        async with bench(text_files(features, postprocess, width), store=False) as b:
            b.predictor.compute = compute
            live = b.transformer.table.route.live[0].bundle
            shadow = FakePredictor(b.predictor.files, compute=compute)
            copied = active.ActiveBundle(live.manifest, shadow.digest, shadow, "flights", plan=live.plan, encoder=live.encoder)
            b.transformer.table.apply(Route(1, (Target(live),), (Target(copied, fraction=1.0),)))
            await b.ask([{"text": "the team won"}], options={"labels": ["team", "flight"]})
            entry = await told_of_copies(b)
            assert (entry.requests, entry.errors) == (1, {})
            assert (entry.paired.requests, entry.paired.only_shadow_failed) == (1, 0)

    run(body())


async def told_of_copies(bench: Any) -> Any:
    """What is counted of copies, once there is one."""
    while True:
        (entry,) = [one for one in bench.transformer.table.recorder.entries() if one.shadow]
        if entry.requests:
            return entry
        await asyncio.sleep(0.001)
