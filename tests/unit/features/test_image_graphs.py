"""The graph of images, held to its numpy definition."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.definition import define
from penstock.features.document import write_document
from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec
from penstock.features.values import column_of


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 255), min_size=2 * 4 * 6 * 3, max_size=2 * 4 * 6 * 3),
    st.sampled_from([[4, 6], [2, 2], [3, 5], [1, 1]]),
    st.sampled_from(["nchw", "nhwc"]),
)
def test_image_is_within_two_units_in_the_last_place(pixels: list[int], crop: list[int], layout: str) -> None:
    step = {"resize": [4, 6], "crop": crop, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "layout": layout}
    features = [{"name": "photo", "from": "request", "type": "image", "encode": {"image": step}}]
    spec = read_spec(write_document({"formatVersion": 1, "features": features, "tensors": {"x": ["photo"]}}))
    encoder = Encoder.compiled(spec)
    array = np.array(pixels, np.uint8).reshape(2, 4, 6, 3)
    columns = {"photo": type(column_of([None], "string", "s"))(array, np.zeros(2, bool))}
    got, expected = encoder.encode(columns)["x"], define(encoder.plan, columns)["x"]
    assert got.shape == ((2, 3, *crop) if layout == "nchw" else (2, *crop, 3))
    np.testing.assert_array_max_ulp(got, expected, maxulp=2)
