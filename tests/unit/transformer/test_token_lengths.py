"""Rows of one batch are called by their length: every row gets its own answer, and no short text is padded to a long one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.bundle.manifest import PostprocessSpec
from penstock.dataplane import TensorMetadata
from penstock.features.plan import plan
from penstock.features.reading import read_spec
from penstock.testing.bundles import bundle_files
from penstock.testing.tokenizer import tokenizer_json
from penstock_transformer.token_lengths import TokenLengths

SPEC = """
formatVersion: 1
features:
  - {name: text, from: request, type: string, encode: {tokenise: {file: tokenizer.json, maxLength: 300}}}
  - {name: stars, from: request, type: float32, missing: {default: 0}}
tensors: {input_ids: [text], mask: {features: [text], part: attention_mask}, stars: [stars]}
"""
BY_LENGTH = TokenLengths("mask", ["input_ids", "mask"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 50), st.booleans())
def test_every_row_is_in_one_group_with_all_of_its_tokens(lengths: list[int], most: int, left: bool) -> None:
    longest = max(lengths)
    mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int64)
    mask = mask[:, ::-1] if left else mask
    ids = np.arange(mask.size).reshape(mask.shape) * mask
    tensors = {"input_ids": ids, "mask": mask, "stars": np.array(lengths, np.float32)[:, None]}
    groups = BY_LENGTH.groups(tensors, most)
    if groups is None:
        return
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    tokens = 0
    for group in groups:
        assert len(group) <= most
        taken = BY_LENGTH.taken(tensors, group)
        assert taken["stars"][:, 0].tolist() == [lengths[row] for row in group]
        assert taken["mask"].shape == taken["input_ids"].shape == (len(group), max(lengths[row] for row in group))
        assert taken["input_ids"].flags.c_contiguous
        for place, row in enumerate(group):
            assert taken["input_ids"][place][taken["mask"][place] == 1].tolist() == ids[row][mask[row] == 1].tolist()
        tokens += max(16, taken["mask"].shape[1]) * len(group)
    assert tokens <= 0.75 * mask.size


def test_a_batch_that_would_save_little_is_left_whole() -> None:
    for lengths in ([8] * 30, [200] * 30, [150, 160, 170, 250]):
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        assert BY_LENGTH.groups({"mask": mask}, 100) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mask: {features: [text], part: attention_mask}, ", ""),
        ("maxLength: 300", "maxLength: 300, pad: maxLength"),
        ("encode: {tokenise: {file: tokenizer.json, maxLength: 300}}", "encode: passthrough"),
    ],
)
def test_what_has_no_lengths_of_one_text_is_not_grouped(old: str, new: str) -> None:
    assert TokenLengths.of(plan(read_spec(SPEC))) is not None
    changed = SPEC.replace(old, new)
    if "passthrough" in new:
        changed = changed.replace("input_ids: [text], mask: {features: [text], part: attention_mask}", "t: [text]")
    assert TokenLengths.of(plan(read_spec(changed))) is None


def test_a_long_text_does_not_lengthen_its_batch_mates(bench: Callable[..., Any], run: Callable[..., Any]) -> None:
    files = bundle_files(
        SPEC,
        inputs=[TensorMetadata(n, "INT64", (-1, -1)) for n in ("input_ids", "mask")] + [TensorMetadata("stars", "FP32", (-1, 1))],
        outputs=[TensorMetadata("y", "FP32", (-1,))],
        postprocess=PostprocessSpec("regression", "y"),
        files={"tokenizer.json": tokenizer_json()},
    )

    async def body() -> None:
        async with bench(files, store=False) as b:
            b.predictor.compute = lambda t: {"y": (t["mask"].sum(axis=1) * 10 + t["stars"][:, 0]).astype(np.float32)}
            replies = [b.send([{"text": "late " * n, "stars": n % 7} for n in own]) for own in ([1, 200, 3], [2], [150, 5, 4])]
            got = [[p["value"] for p in (await reply.future).predictions] for reply in replies]
            assert got == [[30 + 1, 2020 + 4, 50 + 3], [40 + 2], [1520 + 3, 70 + 5, 60 + 4]]
            shapes = sorted(call.inputs[0].shape for call in b.predictor.calls)
            assert max(shape[1] for shape in shapes) == 202
            assert not any(rows > 2 and tokens > 20 for rows, tokens in shapes)

    run(body())
