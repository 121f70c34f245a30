"""Train a classifier of handwritten digits on scikit-learn's 1,797 pictures of 8 by 8, and write model.onnx and sample.png.

The pictures are turned into PNG files and pass through Penstock's decoder and encoder on their way to the classifier, as they
will when somebody posts one. sample.png is one that the classifier never saw.
"""

import io
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from penstock.features.encoder import Encoder
from penstock.features.reading import read_spec

HERE = Path(__file__).resolve().parent
# The encoder's own ONNX versions: every supported runtime knows them, and the two graphs can be fused.
OPSETS = {"": 17, "ai.onnx.ml": 3}


def convert(model: LogisticRegression) -> bytes:
    """The classifier as ONNX with a `Flatten` in front: `pixels` float32 `[rows, 1, 8, 8]` -> `label`, `probabilities`."""
    graph = to_onnx(model, np.zeros((1, 64), np.float32), options={"zipmap": False}, target_opset=OPSETS)
    flat = graph.graph.input[0].name
    graph.graph.node.insert(0, onnx.helper.make_node("Flatten", ["pixels"], [flat], axis=1))
    graph.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [None, 1, 8, 8]))
    graph.graph.name = "digits"
    onnx.checker.check_model(graph)
    return bytes(graph.SerializeToString())


def png(shades: npt.NDArray[np.float64]) -> bytes:
    """A picture of the data set, shades 0 to 16, as a PNG file, shades 0 to 255."""
    file = io.BytesIO()
    Image.fromarray(np.rint(shades * 255 / 16).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def main() -> int:
    digits = load_digits()
    pictures = np.array([png(shades) for shades in digits.images], object)
    spec = read_spec((HERE / "features.yaml").read_text())
    x = Encoder.compiled(spec).encode_frame({"image": pictures})["pixels"].reshape(len(pictures), 64)
    train, test = train_test_split(np.arange(len(x)), test_size=0.25, random_state=0, stratify=digits.target)
    model = LogisticRegression(max_iter=1000).fit(x[train], digits.target[train])
    print(f"accuracy on {len(test)} unseen pictures: {model.score(x[test], digits.target[test]):.3f}")
    (HERE / "model.onnx").write_bytes(convert(model))
    (HERE / "sample.png").write_bytes(pictures[test[1]])
    print(f"sample.png shows a {digits.target[test[1]]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
