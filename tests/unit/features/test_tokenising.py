"""Texts become the tokens that the library makes of them, padded to their batch, cut as the spec says, refused by row."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from penstock.errors import InvalidInput, TooLarge
from penstock.features.definition import define
from penstock.features.document import write_document
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec, write_spec
from penstock.features.spec import FeatureSpec
from penstock.features.values import column_of
from penstock.tensors import Array
from penstock.testing.tokenizer import tokenizer_json

FILES = {"tokenizer.json": tokenizer_json()}
TOKENISE = {"tokenise": {"file": "tokenizer.json", "maxLength": 8}}
LETTERS = {"type": "WordLevel", "vocab": {"a": 0, "[CLS]": 1, "[SEP]": 2}, "unk_token": "a"}
PARTS = ("input_ids", "attention_mask", "token_type_ids")


def spec_of(features: list[dict[str, Any]] | None = None, tensors: dict[str, Any] | None = None, **step: Any) -> FeatureSpec:
    encode = {"tokenise": {"file": "tokenizer.json", "maxLength": 8} | step}
    features = features or [{"name": "text", "from": "request", "type": "string", "encode": encode}]
    document = {"formatVersion": 1, "features": features, "tensors": tensors or {part: ["text"] for part in PARTS}}
    return read_spec(write_document(document))


def encode(spec: FeatureSpec, truncated: dict[str, Array] | None = None, **texts: list[str | None]) -> dict[str, Array]:
    encoder = Encoder.compiled(spec, files=FILES)
    columns = {name: column_of(list(values), "string", name) for name, values in texts.items()}
    return encoder.encode(columns, truncated=truncated)


def test_texts_of_a_batch_are_padded_to_its_longest_and_the_mask_says_where() -> None:
    made = encode(spec_of(), text=["the flight was late", "", "game"])
    assert made["input_ids"].tolist() == [[2, 4, 15, 11, 14, 3], [2, 3, 0, 0, 0, 0], [2, 18, 3, 0, 0, 0]]
    assert made["attention_mask"].tolist() == [[1] * 6, [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    assert not made["token_type_ids"].any()
    assert {array.dtype for array in made.values()} == {np.dtype(np.int64)}


def test_a_row_has_the_same_tokens_alone_as_in_a_batch() -> None:
    texts: list[str | None] = ["the flights was late", "x", "", "unknown words!", "it was on time. it was on time.", "é日本"]
    together = encode(spec_of(), text=texts)
    for row, text in enumerate(texts):
        alone = encode(spec_of(), text=[text])
        for part in PARTS:
            length = alone[part].shape[1]
            assert together[part][row, :length].tolist() == alone[part][0].tolist()
            assert not together["attention_mask"][row, length:].any()


def test_a_long_text_is_cut_and_said_to_be() -> None:
    truncated: dict[str, Array] = {}
    made = encode(spec_of(maxLength=4), truncated, text=["it was on time", "late"])
    assert made["input_ids"].tolist() == [[2, 10, 11, 3], [2, 14, 3, 0]]
    assert truncated["text"].tolist() == [True, False]
    left = encode(spec_of(maxLength=4, side="left"), text=["it was on time"])
    assert left["input_ids"].tolist() == [[2, 12, 13, 3]]


def test_all_rows_are_as_long_as_a_model_of_fixed_length_wants() -> None:
    made = encode(spec_of(pad="maxLength"), text=["late"])
    assert made["input_ids"].tolist() == [[2, 14, 3, 0, 0, 0, 0, 0]]
    assert made["attention_mask"].sum() == 3


def pairs(**step: Any) -> FeatureSpec:
    tokenise = {"tokenise": {"file": "tokenizer.json", "maxLength": 8, "with": "claim"} | step}
    premise = {"name": "text", "from": "request", "type": "string", "encode": tokenise}
    claim = {"name": "claim", "from": "request", "type": "string", "missing": {"default": "it is late"}}
    return spec_of([premise, claim])


def test_a_pair_of_texts_is_one_row_whose_second_text_has_type_one() -> None:
    made = encode(pairs(), text=["flight late", "late"], claim=["on time", None])
    assert made["input_ids"].tolist() == [[2, 15, 14, 3, 12, 13, 3], [2, 14, 3, 10, 6, 14, 3]]
    assert made["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("truncate", "expected"),
    [
        ("longest", [2, 4, 15, 11, 3, 10, 6, 3]),
        ("first", [2, 4, 15, 3, 10, 6, 14, 3]),
        ("second", [2, 4, 15, 11, 14, 3, 10, 3]),
    ],
)
def test_of_a_pair_the_one_that_the_spec_names_is_cut(truncate: str, expected: list[int]) -> None:
    truncated: dict[str, Array] = {}
    made = encode(pairs(truncate=truncate), truncated, text=["the flight was late"], claim=["it is late"])
    assert made["input_ids"].tolist() == [expected]
    assert truncated["text"].tolist() == [True]


def test_a_tensor_takes_the_part_that_is_named_and_other_types_are_cast() -> None:
    tensors = {"ids": {"features": ["text"], "part": "input_ids", "type": "int32"}}
    spec = spec_of(tensors=tensors)
    made = encode(spec, text=["late"])
    assert made["ids"].tolist() == [[2, 14, 3]]
    assert made["ids"].dtype == np.int32
    assert read_spec(write_spec(spec)) == spec


def test_tokens_travel_beside_other_features() -> None:
    text = {
        "name": "text",
        "from": "request",
        "type": "string",
        "encode": {"tokenise": {"file": "tokenizer.json", "maxLength": 8}},
    }
    stars = {"name": "stars", "from": "request", "type": "int64", "encode": {"minMax": {"min": 0, "max": 5}}}
    spec = spec_of([stars, text], {"x": ["stars"], "input_ids": ["text"]})
    encoder = Encoder.compiled(spec, files=FILES)
    columns = {"text": column_of(["late", "a"], "string", "text"), "stars": column_of([5, 0], "int64", "stars")}
    made = encoder.encode(columns)
    assert made["x"].tolist() == [[1.0], [0.0]]
    parts = {"text__input_ids": column_of([0, 0], "int64", "ids")}
    parts["text__input_ids"].values = made["input_ids"]
    defined = define(encoder.plan, columns | parts)
    assert defined["input_ids"].tolist() == made["input_ids"].tolist()
    assert defined["x"].tolist() == made["x"].tolist()


def test_no_rows_make_no_tokens() -> None:
    made = encode(spec_of(), text=[])
    assert made["input_ids"].shape == (0, 0)


def test_a_text_beyond_the_limit_is_refused_by_row() -> None:
    with pytest.raises(TooLarge, match=r"^rows\[1\]\.text: 12 bytes of text, the limit is 10$"):
        encode(spec_of(maxBytes=10), text=["0123456789", "日本日本"])
    with pytest.raises(TooLarge, match=r"^rows\[0\]\.claim: 11 bytes"):
        encode(pairs(maxBytes=10), text=["a"], claim=["01234567890"])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"maxLength": 0}, "maxLength: expected an integer from 1"),
        ({"truncate": "first"}, "truncate: is for pairs of texts"),
        ({"with": "nobody"}, "with: no feature is named 'nobody'"),
        ({"side": "middle"}, "side: expected right or left"),
        ({"pad": 5}, "pad: expected longest or maxLength"),
        ({"file": ""}, "file: expected a name"),
        ({"lenght": 5}, "lenght: unknown field"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_by_field(step: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message.replace("[", r"\[")):
        spec_of(**step)


@pytest.mark.parametrize(
    ("feature", "tensors", "message"),
    [
        ({"encode": [TOKENISE, "log1p"]}, None, "tokens go to the model as they are"),
        ({"encode": ["passthrough", TOKENISE]}, None, "has to be the first step"),
        ({"type": "int64", "encode": TOKENISE}, None, "needs one text a row"),
        ({"missing": "keep", "encode": TOKENISE}, None, "needs a text in every row"),
        ({"encode": TOKENISE}, {"x": ["text"]}, "tensors.x.part: expected the part of the tokens that this input is: input_ids"),
        ({"encode": TOKENISE}, {"input_ids": ["text", "other"]}, "a tokenised text fills a tensor by itself"),
        ({"encode": TOKENISE}, {"input_ids": {"features": ["text"], "rank": 1}}, "tokens are of rank 2"),
        ({"encode": TOKENISE}, {"input_ids": {"features": ["text"], "type": "string"}}, "are int64 and do not become string"),
        ({"encode": "words"}, {"x": ["text"]}, "words are no tensor; expected multiHot or ngramCounts"),
        ({}, {"x": {"features": ["text"], "part": "input_ids"}}, "part: is for tokenised texts"),
        ({"name": "text__input_ids"}, {"x": ["text__input_ids"]}, "or ending in .*__token_type_ids"),
    ],
)
def test_a_spec_that_cannot_be_encoded_is_refused_by_field(
    feature: dict[str, Any], tensors: dict[str, Any] | None, message: str
) -> None:
    features = [{"name": "text", "from": "request", "type": "string"} | feature]
    features.append({"name": "other", "from": "request", "type": "int64"})
    with pytest.raises(InvalidInput, match=message):
        spec_of(features, tensors)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "tokenizer.json: the tokenizer of text is not there"),
        ({"tokenizer.json": b"{}"}, "tokenizer.json: not a tokenizer.json that can be read"),
        ({"tokenizer.json": tokenizer_json(added_tokens=[], model=LETTERS)}, "no token to pad with"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_will_not_do_is_refused_by_file(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Encoder.compiled(spec_of(), files=files)


def test_a_length_that_leaves_no_room_for_text_is_refused() -> None:
    with pytest.raises(InvalidInput, match="maxLength is 2, and 2 tokens are added to every text"):
        Encoder.compiled(spec_of(maxLength=2), files=FILES)


def test_words_beyond_the_limit_are_refused_by_row() -> None:
    encode = [{"words": {"maxBytes": 10}}, {"multiHot": {"categories": ["late"]}}]
    features = [{"name": "text", "from": "request", "type": "string", "encode": encode}]
    encoder = Encoder.compiled(spec_of(features, {"x": ["text"]}))
    with pytest.raises(TooLarge, match=r"^rows\[1\]\.text: 11 bytes of text, the limit is 10$"):
        encoder.encode({"text": column_of(["late", "01234567890"], "string", "text")})


def test_the_tokenizer_library_is_imported_by_bundles_that_need_it_alone() -> None:
    program = "import sys, penstock.features.encoder, penstock.features.texts; print('tokenizers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_tokens_made_in_threads_are_the_same() -> None:
    encoder = Encoder.compiled(spec_of(), files=FILES)
    batches = [[f"late {'x' * (n % 5)}", "the team won " * (n % 4)] for n in range(40)]

    def made(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = encoder.encode({"text": column_of(list(texts), "string", "text")})["input_ids"].tolist()
        return ids

    alone = [made(texts) for texts in batches]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(made, batches)) == alone
