"""Where model.onnx comes from: a scikit-learn pipeline that tells three kinds of wine apart, saved as ONNX and nothing else.

It stands for a model that somebody else trained: Penstock knows only the file. Run it to make the file anew (the same bytes).
"""

import sys
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent


def main() -> int:
    wine = load_wine()
    train, test, kinds, expected = train_test_split(
        wine.data.astype(np.float32), wine.target, random_state=0, stratify=wine.target
    )
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, kinds)
    print(f"accuracy on {len(test)} held-out wines: {model.score(test, expected):.3f}")
    onnx_model = to_onnx(model, train[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    onnx_model.graph.name = "wine"
    (HERE / "model.onnx").write_bytes(onnx_model.SerializeToString())
    return 0


if __name__ == "__main__":
    sys.exit(main())
