"""Arrow bodies, judged by pyarrow: what it writes is read, what is written it reads, and broken streams are refused."""

import contextlib
import io
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidInput, TooLarge
from penstock.features.spec import Feature, FeatureSpec, Missing
from penstock_transformer.http.bulk.arrow_reader import SLICE_ROWS, ArrowReader
from penstock_transformer.http.bulk.arrow_writer import ArrowWriter
from penstock_transformer.http.bulk.batch import Batch
from penstock_transformer.http.bulk.flatbuffer import Table
from penstock_transformer.plan import FetchPlan, plan_of

LIMIT = 1 << 20


def encoded(*batches: pa.RecordBatch, **options: Any) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, batches[0].schema, **options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return out.getvalue()


def read(body: bytes, plan: FetchPlan | None = None, step: int = 1000) -> list[Batch]:
    reader = ArrowReader(plan, most_bytes=LIMIT)
    batches: list[Batch] = []
    for at in range(0, len(body), step):
        batches += reader.feed(body[at : at + step])
    return batches + list(reader.finish())


def column(array: pa.Array, step: int = 1000) -> np.ndarray[Any, Any]:
    batches = read(encoded(pa.record_batch({"c": array})), step=step)
    return np.concatenate([batch.columns["c"] for batch in batches if batch.columns is not None])


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize(
    "array, wanted",
    [
        (pa.array([1, -2, 3], pa.int8()), [1, -2, 3]),
        (pa.array([1, 2**63], pa.uint64()), [1, 2**63]),
        (pa.array([1, None, 3], pa.int64()), [1, None, 3]),
        (pa.array([True, None, False]), [True, None, False]),
        (pa.array(["a", None, "é", ""]), ["a", None, "é", ""]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array([b"\xff", None], pa.binary()), [b"\xff", None]),
        (pa.array(["x", "y", None, "x"]).dictionary_encode(), ["x", "y", None, "x"]),
        (pa.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (pa.array([["a"], None, ["b", "c"]]), [["a"], None, ["b", "c"]]),
        (pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)), [[1.0, 2.0], [3.0, 4.0]]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_what_pyarrow_writes_is_read(array: pa.Array, wanted: list[Any], step: int) -> None:
    assert column(array, step).tolist() == wanted


def test_floats_and_times_keep_their_gaps() -> None:
    assert np.array_equal(column(pa.array([1.5, None], pa.float32())), np.array([1.5, np.nan], np.float32), equal_nan=True)
    times = column(pa.array([1000, None], pa.timestamp("ms", "UTC")))
    assert times[0] == np.datetime64(1, "s")
    assert np.isnat(times[1])
    assert column(pa.array([1], pa.date32()))[0] == np.datetime64("1970-01-02")


def test_large_batches_are_predicted_in_slices_and_rows_are_counted_through() -> None:
    one = pa.record_batch({"c": np.arange(SLICE_ROWS + 10)})
    batches = read(encoded(one, one))
    assert [len(batch.numbers) for batch in batches] == [SLICE_ROWS, 10, SLICE_ROWS, 10]
    assert batches[-1].numbers[-1] == 2 * (SLICE_ROWS + 10) - 1
    assert batches[1].columns is not None
    assert batches[1].columns["c"].tolist() == list(range(SLICE_ROWS, SLICE_ROWS + 10))


def plan() -> FetchPlan:
    reject = Missing("reject")
    features = (
        Feature("distance", None, "distance", "float32", reject, ()),
        Feature("carrier", None, "carrier", "string", Missing("default", "??"), ()),
        Feature("tags", None, "tags", "list<string>", Missing("default", []), (), length=3),
    )
    return plan_of(FeatureSpec(features, {"x": ("distance",)}))


@pytest.mark.parametrize(
    "columns, field, words",
    [
        ({"distanse": [1.0]}, "distanse", "did you mean distance?"),
        ({"distance": ["far"]}, "distance", "expected a column of float32, got one of text"),
        ({"carrier": ["UA"]}, "distance", "missing; expected a column of float32"),
        ({"distance": [1.0], "tags": ["a"]}, "tags", "expected a column of list<string>"),
        ({"distance": [{"a": 1}]}, "distance", "not read here"),
    ],
)
def test_the_schema_is_checked_before_any_row(columns: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(encoded(pa.record_batch(columns)), plan())
    assert refused.value.field == field
    assert words in refused.value.message


def test_columns_that_fit_are_taken() -> None:
    (batch,) = read(encoded(pa.record_batch({"distance": [1, 2], "carrier": ["UA", None]})), plan())
    assert batch.part([1])["columns"]["carrier"].tolist() == [None]


GOOD = encoded(pa.record_batch({"c": ["a", "b"], "d": [1, 2]}))


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "ends before its schema"),
        (GOOD[:-40], "inside a message"),
        (b"x" * 100, "expected an Arrow IPC stream"),
        (b"ARROW1\0\0" + GOOD, "not a file"),
        (b"\xff\xff\xff\xff\x00\x00\x00\x7f", "bytes of metadata"),
        (b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\xff" * 16, "metadata is broken"),
        (GOOD[:-8] + GOOD, "expected one schema"),
        (encoded(pa.record_batch({"c": [1] * 1000}), options=pa.ipc.IpcWriteOptions(compression="zstd")), "without compression"),
    ],
)
def test_a_broken_stream_says_what_it_is(body: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(body)
    assert words in refused.value.message


def test_a_batch_beyond_the_limit_is_refused_before_it_is_held() -> None:
    body = encoded(pa.record_batch({"c": np.zeros(LIMIT)}))
    reader = ArrowReader(None, most_bytes=LIMIT)
    with pytest.raises(TooLarge):
        list(reader.feed(body[:2000]))


def test_rows_of_nothing_are_bounded() -> None:
    with pytest.raises(TooLarge, match="rows"):
        read(encoded(pa.record_batch({"c": pa.nulls(1_000_000)})))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_an_error_of_the_callers(data: st.DataObject) -> None:
    body = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidInput):  # too large is one of those too
        read(bytes(body))


def written(*parts: list[Any]) -> pa.Table:
    writer = ArrowWriter()
    body = b"".join(writer.write([], part, None) for part in parts) + writer.finish()
    table = pa.ipc.open_stream(body).read_all()
    table.validate(full=True)
    return table


def test_answers_are_columns_that_pyarrow_reads() -> None:
    good = {"label": "late", "scores": {"a": 0.25, "late": 0.75}, "defaulted": ["x"], "data": {"a": 1}, "ages_s": {}}
    table = written([good, InvalidInput("bad", field="a")], [{**good, "label": None, "defaulted": []}])
    assert table.column_names == ["label", "scores", "defaulted", "error", "field"]
    one, two, three = table.to_pylist()
    assert one == {"label": "late", "scores": {"a": 0.25, "late": 0.75}, "defaulted": ["x"], "error": None, "field": None}
    assert (two["label"], two["error"], two["field"]) == (None, "bad", "a")
    assert three["label"] is None


@pytest.mark.parametrize(
    "value, kind",
    [(1.5, pa.float64()), (True, pa.bool_()), (3, pa.int64()), ("a", pa.string()), ([1.0, 2.0], pa.list_(pa.float64()))],
)
def test_a_value_has_its_own_type(value: Any, kind: Any) -> None:
    table = written([{"value": value}])
    assert table.schema.field("value").type == kind
    assert table.to_pylist()[0]["value"] == value


def test_refused_rows_wait_for_the_first_prediction_that_says_the_schema() -> None:
    table = written([InvalidInput("one")], [InvalidInput("two")], [{"value": 1.0}])
    assert [row["error"] for row in table.to_pylist()] == ["one", "two", None]
    assert [row["error"] for row in written([InvalidInput("one")]).to_pylist()] == ["one"]
    assert written().num_rows == 0
    writer = ArrowWriter()
    with pytest.raises(InvalidInput, match="rows were refused"):
        writer.write([], [InvalidInput("no")] * 100_001, None)


def test_a_stream_that_cannot_be_read_further_ends_with_the_reason() -> None:
    writer = ArrowWriter()
    body = writer.write([], [{"value": 1.0}], None) + writer.fail(InvalidInput("broken"), None) + writer.finish()
    assert [row["error"] for row in pa.ipc.open_stream(body).read_all().to_pylist()] == [None, "broken"]
    writer = ArrowWriter()
    assert writer.fail(InvalidInput("broken"), None) == b""
    assert pa.ipc.open_stream(writer.finish()).read_all().to_pylist() == [{"error": "broken", "field": None}]


def test_rows_without_any_column_are_as_many_rows() -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    (found,) = read(encoded(batch))
    assert (found.numbers, found.part([0, 2])) == ([0, 1, 2], {"rows": [{}, {}]})


def _shared(levels: int) -> bytes:
    """A schema's metadata in which each table's children are the next table, twice over."""
    vtable = struct.pack("<8H", 16, 8, 0, 0, 0, 0, 0, 4)
    tables = b"".join(struct.pack("<iIIII", 4 + 16 + 20 * at - 4, 4, 2, 8, 4) for at in range(levels))
    end = struct.pack("<iII", 16 + 20 * levels, 4, 0)
    return struct.pack("<I", 20) + vtable + tables + end


def test_metadata_that_leads_to_one_table_again_and_again_does_not_unfold() -> None:
    def children(table: Table) -> int:
        return 1 + sum(children(one) for one in table.tables(5))

    assert children(Table(_shared(5), 0)) == 2**6 - 1
    with pytest.raises(ValueError, match="more in it than there are bytes for"):
        children(Table(_shared(50), 0))


def test_columns_that_share_their_bytes_are_refused() -> None:
    text = b"x" * 10_000
    whole = encoded(pa.record_batch({name: pa.array([text.decode()]) for name in "abcd"}))
    # Before the first text the body has its two offsets and nothing else.
    body = whole.index(text) - 8
    last = struct.pack("<qq", whole.rindex(text) - body, len(text))
    assert whole.count(last) == 1
    with pytest.raises(InvalidInput, match="over each other"):
        read(whole.replace(last, struct.pack("<qq", 8, 2 * len(text))))


@pytest.mark.parametrize("words", [3, 5000])
def test_a_dictionary_large_or_small_says_the_same(words: int) -> None:
    names = [f"word {at}" for at in range(words)] + [None]
    given = pa.DictionaryArray.from_arrays(pa.array([words, None, 2, 0, 2], pa.int32()), pa.array(names))
    assert column(given).tolist() == [None, None, "word 2", "word 0", "word 2"]
    nested = pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int32()), pa.array([[1, 2], [3]] * words))
    assert [list(one) for one in column(nested)] == [[3], [1, 2]]


def test_a_list_of_nothing_that_claims_to_be_endless_takes_no_memory() -> None:
    given = pa.array([[None] * 7], pa.large_list(pa.null()))
    assert column(given).tolist() == [[None] * 7]
    whole = encoded(pa.record_batch({"c": given}))
    seven = struct.pack("<q", 7)
    assert whole.count(seven) >= 2  # the child's node, and the offset that ends the list
    with pytest.raises(InvalidInput, match="do not fit together"):
        read(whole.replace(seven, struct.pack("<q", 1 << 33)))
