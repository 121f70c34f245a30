"""The encoder at work: what it asks of its columns, what it does with none, and that the same spec is the same graph."""

from typing import Any

import numpy as np
import onnx
import pytest

from penstock.columns import Column
from penstock.errors import InvalidInput, TooLarge
from penstock.features.compiler import IR_VERSION, compile_encoder
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.features.values import column_of

SPEC = """
formatVersion: 1
features:
  - {name: x, from: request, type: float32, encode: {standardise: {mean: 1, std: 2}}}
  - {name: word, from: request, type: string, missing: {default: b}, encode: {oneHot: {categories: [a, b]}}}
  - {name: count, from: request, type: int64, missing: keep}
  - {name: shown, from: request, type: string}
tensors:
  x: [word, x, count]
  count: {features: [count], type: float32, rank: 1}
"""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.compiled(read_spec(SPEC))


def columns(**values: list[Any]) -> dict[str, Column]:
    types = {"x": "float32", "word": "string", "count": "int64"}
    return {name: column_of(values[name], kind, name) for name, kind in types.items()}


def test_tensors_have_the_models_names_and_the_order_of_the_spec(encoder: Encoder) -> None:
    made = encoder.encode(columns(x=[3, 5], word=["a", None], count=[7, None]))
    assert made["x"].tolist()[0] == [1.0, 0.0, 1.0, 7.0]
    np.testing.assert_array_equal(made["x"][1], np.array([0.0, 1.0, 2.0, np.nan], np.float32))
    np.testing.assert_array_equal(made["count"], np.array([7.0, np.nan], np.float32))
    assert list(made) == ["x", "count"]


def test_no_rows_do_not_reach_the_graph() -> None:
    def run(feeds: dict[str, Any]) -> list[Any]:
        raise AssertionError(feeds)

    made = Encoder(b"", read_spec(SPEC), run=run).encode(columns(x=[], word=[], count=[]))
    assert {name: (array.shape, array.dtype) for name, array in made.items()} == {
        "x": ((0, 4), np.dtype(np.float32)),
        "count": ((0,), np.dtype(np.float32)),
    }


def test_a_missing_value_is_refused_by_row_and_name(encoder: Encoder) -> None:
    with pytest.raises(InvalidInput, match="is required, and has no value") as caught:
        encoder.encode(columns(x=[1, None, None], word=["a", "a", "a"], count=[1, 1, 1]))
    assert caught.value.field == "rows[1].x"
    made = encoder.encode(columns(x=[None], word=["a"], count=[1]), checked=True)
    assert np.isnan(made["x"][0, 2])


def test_columns_are_checked(encoder: Encoder) -> None:
    good = columns(x=[1], word=["a"], count=[1])
    with pytest.raises(InvalidInput, match=r"word: no column is given"):
        encoder.encode({name: column for name, column in good.items() if name != "word"})
    with pytest.raises(InvalidInput, match="word: expected 1 rows as in the other columns, got 2"):
        encoder.encode(good | {"word": column_of(["a", "b"], "string", "word")})
    with pytest.raises(InvalidInput, match="x: expected a column of float32, got float64"):
        encoder.encode(good | {"x": column_of([1.0], "float64", "x")})


def test_a_frame_is_encoded_like_rows(encoder: Encoder) -> None:
    made = encoder.encode_frame({"x": [3.0], "word": ["a"], "count": np.array([7]), "other": [object()]})
    assert made["x"].tolist() == [[1.0, 0.0, 1.0, 7.0]]
    with pytest.raises(InvalidInput, match=r"word: the data has no column of this name; did you mean world\?"):
        encoder.encode_frame({"x": [3.0], "world": ["a"], "count": [7]})


def test_warming_runs_the_graph_on_any_spec() -> None:
    Encoder.compiled(read_spec(SPEC)).warm(3)
    text = SPEC.replace("type: int64, missing: keep", "type: list<int64>, length: 1")
    Encoder.compiled(read_spec(text)).warm()
    image = "{name: i, from: request, type: image, encode: {image: {resize: [4, 4]}}}"
    Encoder.compiled(read_spec(f"formatVersion: 1\nfeatures: [{image}]\ntensors: {{p: [i]}}")).warm()


def test_the_same_spec_is_the_same_graph_of_pinned_standard_operators() -> None:
    first, second = (compile_encoder(read_spec(SPEC)) for _ in range(2))
    assert first == second
    model = onnx.load_from_string(first)
    assert model.ir_version == IR_VERSION == 8
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 17, "ai.onnx.ml": 3}
    assert [value.name for value in model.graph.input] == ["x", "word", "word__missing", "count", "count__missing"]
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx.ml"}


def test_twenty_numbers_share_their_operators() -> None:
    rows = [
        f"  - {{name: f{i}, from: request, type: float64, encode: {{standardise: {{mean: {i}, std: 2}}}}}}" for i in range(20)
    ]
    names = ", ".join(f"f{i}" for i in range(20))
    text = "\n".join(["formatVersion: 1", "features:", *rows, f"tensors: {{x: [{names}]}}"])
    operators = [node.op_type for node in onnx.load_from_string(compile_encoder(read_spec(text))).graph.node]
    assert operators.count("Sub") == operators.count("Div") == 1
    assert len(operators) < 10


@pytest.mark.parametrize("tensor", ["x", "word__missing", "count__encoded", "/Concat_0", "/constant_0"])
def test_any_name_of_a_models_input_works(tensor: str) -> None:
    text = SPEC.replace("  x: [word, x, count]", f"  {tensor}: [word, x, count]").replace("name: shown", "name: x__encoded")
    made = Encoder.compiled(read_spec(text)).encode(columns(x=[3], word=["a"], count=[7]))
    assert made[tensor].tolist() == [[1.0, 0.0, 1.0, 7.0]]


def test_a_graph_of_another_spec_is_refused() -> None:
    other = read_spec(SPEC.replace("name: word", "name: world").replace("[word,", "[world,"))
    with pytest.raises(InvalidInput, match=r"encoder.onnx: the graph has no input 'word'"):
        Encoder(compile_encoder(other), read_spec(SPEC))


def test_a_graph_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Encoder(b"not a graph", read_spec(SPEC))


IMAGES = """
formatVersion: 1
features:
  - {name: photo, from: request, type: image, encode: {image: {resize: [4, 6], mode: MODE, scale: 1.0}}}
tensors: {pixels: [photo]}
"""


def picture(mode: str, size: tuple[int, int], colour: Any, kind: str = "PNG") -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind)
    return out.getvalue()


def test_images_are_decoded_resized_and_flattened() -> None:
    encoder = Encoder.compiled(read_spec(IMAGES.replace("MODE", "rgb")))
    values = [picture("RGB", (6, 4), (10, 20, 30)), picture("RGBA", (60, 40), (10, 20, 30, 0)), picture("L", (3, 3), 7, "BMP")]
    made = encoder.encode({"photo": column_of(values, "image", "photo")})["pixels"]
    assert made.shape == (3, 3, 4, 6)
    assert made[0, :, 0, 0].tolist() == [10, 20, 30]
    assert made[1, :, 0, 0].tolist() == [255, 255, 255]
    assert made[2, :, 3, 5].tolist() == [7, 7, 7]
    grey = Encoder.compiled(read_spec(IMAGES.replace("MODE", "grey")))
    assert grey.encode({"photo": column_of(values[:1], "image", "photo")})["pixels"].shape == (1, 1, 4, 6)


def test_what_is_no_image_or_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.compiled(read_spec(IMAGES.replace("MODE", "rgb")))
    good = picture("RGB", (6, 4), 0)
    for wrong in (b"", b"not an image", good[:40], b"%PDF-1.4"):
        with pytest.raises(InvalidInput, match="not an image that can be read") as caught:
            encoder.encode({"photo": column_of([good, wrong], "image", "photo")})
        assert caught.value.field == "rows[1].photo"
    monkeypatch.setattr("penstock.features.images.MAX_PIXELS", 100)
    monkeypatch.setattr("penstock.features.images.decode_images.__kwdefaults__", {"max_pixels": 100})
    with pytest.raises(TooLarge, match="20 by 20 pixels, the limit is 100"):
        encoder.encode({"photo": column_of([picture("RGB", (20, 20), 0)], "image", "photo")})
