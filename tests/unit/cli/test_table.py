"""Predictions as the command line shows them."""

from penstock_cli.predict import _cells, table


def test_columns_are_aligned_and_missing_cells_empty() -> None:
    assert table([{"row": "0", "label": "late"}, {"row": "10", "value": "x" * 50}]) == (
        "row  label  value\n0    late\n10          " + "x" * 39 + "…"
    )


def test_a_prediction_is_its_parts() -> None:
    prediction = {"label": "late", "scores": {"late": 0.123456789}, "defaulted": ["seats"], "data": {"a": 1}}
    assert _cells(prediction) == {"label": "late", "score late": "0.123457", "defaulted": "seats"}
    assert _cells({"value": None, "outputs": {"y": [1, 2]}}) == {"value": "-", "y": "[1, 2]"}
