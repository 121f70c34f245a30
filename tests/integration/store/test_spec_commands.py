"""Commands that take a feature spec: the stamp of the store's layout, and training sets as of each row's time."""

import numpy as np
import pyarrow.parquet as pq
import pytest

SPEC = """
formatVersion: 1
sets:
  items: {view: by_int64, keys: {item: item_id}, maxAge: 1d}
features:
  - {name: price, from: request, type: float64, missing: reject, encode: passthrough}
  - {name: amount, from: items.amount, type: float64, missing: {default: -1.0}, encode: passthrough}
  - {name: count, from: items.count, type: int64, missing: {default: 0}, encode: {cast: {to: float64}}}
tensors: {x: [price, amount, count]}
"""

HEADER = ["item", "amount", "count", "name", "extra", "event_timestamp"]


def test_the_stamp_names_what_it_cannot_use(shop):
    layout = shop.stamp(SPEC)
    assert (layout.project, layout.key_serialization) == ("shop", 3)
    assert layout.views["by_int64"].keys == {"item": "int64"}
    assert layout.views["by_int64"].values == {"amount": "double", "count": "int64", "name": "string"}
    for wrong, words in {
        SPEC.replace("by_int64", "nothing"): "no feature view",
        SPEC.replace("by_int64", "on_demand"): "on-demand",
        SPEC.replace("by_int64", "offline_only"): "online=False",
        SPEC.replace("{item: item_id}", "{user: item_id}"): "keyed by",
        SPEC.replace("items.amount", "items.colour"): "no column 'colour'",
    }.items():
        with pytest.raises(RuntimeError, match=words):
            shop.stamp(wrong)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_training_set_is_as_of_each_rows_time(shop, tmp_path, suffix):
    rows = [
        HEADER,
        [1, 10.0, 1, "first", "", "2024-01-01T00:00:00Z"],
        [1, 20.0, 2, "second", "", "2024-01-05T00:00:00Z"],
        [2, 30.0, 3, "other", "", "2024-01-01T00:00:00Z"],
    ]
    assert shop.load("by_int64", "--csv", shop.write_csv(tmp_path / "items.csv", rows))["history_rows"] == 3
    (shop.folder / "features.yaml").write_text(SPEC)
    wanted = shop.write_csv(
        tmp_path / "rows.csv",
        [
            ["price", "item_id", "event_timestamp", "late"],
            [1.0, 1, "2024-01-05T06:00:00Z", 1],  # the second value
            [2.0, 1, "2024-01-01T06:00:00Z", 0],  # the first, though a later one is known today
            [3.0, 2, "2024-01-03T00:00:00Z", 1],  # older than maxAge: missing, as it would be in serving
            [4.0, 99, "2024-01-03T00:00:00Z", 0],  # unknown
            [5.0, "", "2024-01-03T00:00:00Z", 0],  # no key
            ["", 1, "2024-01-05T06:00:00Z", 1],  # refused in serving: left out
        ],
    )
    out = tmp_path / f"out.{suffix}"
    text = shop.run("training-set", "--rows", wanted, "--label", "late", "--out", out)
    assert "5 rows" in text
    assert "1 left out" in text
    if suffix == "npz":
        with np.load(out) as arrays:
            x, late = arrays["x"], arrays["late"]
    else:
        table = pq.read_table(out)
        x, late = np.array(table["x"].to_pylist()), np.array(table["late"].to_pylist())
    assert x.tolist() == [[1.0, 20.0, 2.0], [2.0, 10.0, 1.0], [3.0, -1.0, 0.0], [4.0, -1.0, 0.0], [5.0, -1.0, 0.0]]
    assert late.tolist() == [1, 0, 1, 0, 0]
    assert "--label" in shop.fails("training-set", "--rows", wanted, "--label", "nothing", "--out", out)
    assert "--time" in shop.fails("training-set", "--rows", wanted, "--time", "when", "--out", out)


RECORD_SPEC = """
formatVersion: 1
record: {set: orders, key: user}
sets:
  orders: {view: by_string, keys: {user: user}}
  items: {view: by_int64, keys: {item: count}}
features:
  - {name: amount, from: request, type: float64, missing: {default: -1.0}, encode: passthrough}
  - {name: price, from: items.amount, type: float64, missing: {default: -2.0}, encode: passthrough}
  - {name: stock, from: items.count, type: int64, maxAge: 1h, missing: {default: -3}, encode: {cast: {to: float64}}}
tensors: {x: [amount, price, stock]}
"""


def test_training_set_fills_keys_and_features_from_the_record(shop, tmp_path):
    header = ["user", "amount", "count", "name", "event_timestamp"]
    orders = [header, ["ann", 5.0, 1, "", "2024-01-01T00:00:00Z"], ["bob", "", 2, "", "2024-01-01T00:00:00Z"]]
    items = [["item", *header[1:]], [1, 10.0, 7, "", "2024-01-01T00:00:00Z"], [2, 20.0, 8, "", "2024-01-01T00:00:00Z"]]
    shop.run("load", "by_string", "--csv", shop.write_csv(tmp_path / "orders.csv", orders))
    shop.run("load", "by_int64", "--csv", shop.write_csv(tmp_path / "items.csv", items))
    (shop.folder / "features.yaml").write_text(RECORD_SPEC)
    rows = [
        ["user", "amount", "event_timestamp"],
        ["ann", "", "2024-01-01T00:30:00Z"],  # everything through the record
        ["ann", 6.0, "2024-01-01T02:00:00Z"],  # the row's own value wins; stock is older than its feature's maxAge
        ["bob", "", "2024-01-01T00:30:00Z"],
        ["eve", "", "2024-01-01T00:30:00Z"],  # no record, so no key for the item either
    ]
    out = tmp_path / "out.npz"
    shop.run("training-set", "--rows", shop.write_csv(tmp_path / "rows.csv", rows), "--out", out)
    with np.load(out) as arrays:
        found = arrays["x"].tolist()
    assert found == [[5.0, 10.0, 7.0], [6.0, 10.0, -3.0], [-1.0, 20.0, 8.0], [-1.0, -2.0, -3.0]]


LIST_SPEC = """
formatVersion: 1
sets: {all: {view: every_type, keys: {user: user}}}
features:
  - name: sizes
    from: all.int64_list
    type: list<int64>
    length: 3
    missing: {default: [7]}
    encode: {multiHot: {categories: [1, 2, 7]}}
  - name: words
    from: all.string_list
    type: list<string>
    length: 3
    missing: {default: []}
    encode: {multiHot: {categories: [a, ü]}}
tensors: {x: [sizes, words]}
"""


def test_training_set_of_stored_lists(shop, tmp_path):
    names = list(shop._feast.call("stamp", str(shop.folder), ["every_type"]).views["every_type"].values)
    header = ["user", *names, "event_timestamp"]
    lists = {"ann": ("[1, 2]", '["ü"]'), "bob": ("[]", "[]"), "eve": ("[1, 1, 2, 2]", "[]")}

    def row(user: str) -> list[str]:
        given = dict(zip(("int64_list", "string_list"), lists[user], strict=True))
        return [user, *[given.get(name, "") for name in names], "2024-01-01T00:00:00Z"]

    shop.load("every_type", "--csv", shop.write_csv(tmp_path / "all.csv", [header, *map(row, lists)]))
    (shop.folder / "features.yaml").write_text(LIST_SPEC)
    wanted, out = tmp_path / "rows.csv", tmp_path / "out.npz"
    shop.write_csv(wanted, [["user", "event_timestamp"], *[[user, "2024-01-02T00:00:00Z"] for user in ("ann", "bob", "nobody")]])
    shop.run("training-set", "--rows", wanted, "--out", out)
    with np.load(out) as arrays:
        assert arrays["x"].tolist() == [[1, 1, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0]]
    shop.write_csv(wanted, [["user", "event_timestamp"], ["eve", "2024-01-02T00:00:00Z"]])
    assert "rows[0].sizes: expected at most 3 elements, got 4" in shop.fails("training-set", "--rows", wanted, "--out", out)
