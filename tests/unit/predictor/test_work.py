"""Plans: what follows from a request's form, and what a caller is told whose request does not fit."""

from typing import Any

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, RequestedOutput, TensorMetadata
from penstock.errors import InvalidInput
from penstock.tensors import Tensor
from penstock_predictor.axes import BatchRule, Sharing
from penstock_predictor.work import Plans, Work

INPUTS = (TensorMetadata("a", "FP32", (-1, 2)), TensorMetadata("b", "INT64", (-1,)))
OUTPUTS = (TensorMetadata("y", "FP32", (-1, 2)), TensorMetadata("z", "BOOL", (-1,)))
TEXT = (TensorMetadata("word", "BYTES", (-1, 1)),)


class Silent:
    disconnected = False

    def put(self, response: Any) -> None: ...

    def error(self, error: Any) -> None: ...


def plans(inputs: tuple[TensorMetadata, ...] = INPUTS, sharing: Sharing = Sharing.FREE, size: int = 0) -> Plans:
    return Plans(inputs, OUTPUTS, BatchRule(sharing, "", size))


def a(rows: int = 1, columns: int = 2) -> Tensor:
    return Tensor.from_array("a", np.zeros((rows, columns), np.float32))


def b(rows: int = 1) -> Tensor:
    return Tensor.from_array("b", np.zeros(rows, np.int64))


def take(found: Plans, inputs: list[Tensor], outputs: list[str] | None = None) -> Work:
    wanted = None if outputs is None else [RequestedOutput(name) for name in outputs]
    return found.take(InferRequest("m", inputs, Context("1"), outputs=wanted), Silent())


def test_a_work_knows_rows_bytes_and_key() -> None:
    work = take(plans(), [a(3), b(3)])
    assert (work.rows, work.nbytes, work.key, work.outputs, work.sliced) == (3, 48, ((2,), ()), None, True)


def test_inputs_come_in_the_models_order() -> None:
    found = plans()
    assert [tensor.name for tensor in take(found, [b(), a()]).inputs] == ["a", "b"]
    assert take(found, [b(), a()]).key == take(found, [a(), b()]).key


def test_requested_outputs_are_kept_once_and_in_order() -> None:
    found = plans()
    assert take(found, [a(), b()], ["z", "y", "z"]).outputs == ("z", "y")
    assert take(found, [a(), b()], []).outputs is None
    assert take(found, [a(), b()]).outputs is None


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ([a()], None, "inputs: missing b; the model takes a, b"),
        ([], None, "inputs: missing a, b"),
        ([a(), b(), a()], None, r"inputs\[2\].name: input 'a' is given twice"),
        ([a(), Tensor.from_array("c", np.zeros(1))], None, r"inputs\[1\].name: the model has no input 'c'"),
        ([a(1, 3), b()], None, r"inputs\[0\].shape: expected \[-1, 2\], got \[1, 3\]"),
        ([b(), Tensor.from_array("a", np.zeros((1, 2)))], None, r"inputs\[1\].datatype: expected FP32, got FP64"),
        ([Tensor.from_array("a", np.zeros(2, np.float32)), b()], None, r"inputs\[0\].shape: expected \[-1, 2\], got \[2\]"),
        ([a(), b()], ["y", "no"], r"outputs\[1\].name: the model has no output 'no'; it gives y, z"),
    ],
)
def test_what_does_not_fit_is_named(inputs: list[Tensor], outputs: list[str] | None, message: str) -> None:
    found = plans()
    for _ in range(2):
        with pytest.raises(InvalidInput, match=message):
            take(found, inputs, outputs)


def test_inputs_of_different_rows_run_alone() -> None:
    work = take(plans(), [a(2), b(3)])
    assert (work.key, work.sliced) == (None, False)


def test_lengths_behind_the_first_axis_are_part_of_the_key() -> None:
    found = plans((TensorMetadata("a", "FP32", (-1, -1)),))
    assert take(found, [a(1, 4)]).key != take(found, [a(1, 5)]).key
    assert take(found, [a(1, 4)]).key == take(found, [a(7, 4)]).key


def test_a_model_that_runs_alone_has_no_key() -> None:
    work = take(plans(sharing=Sharing.ALONE), [a(3), b(3)])
    assert (work.rows, work.key, work.sliced) == (3, None, False)


def test_a_fixed_size_takes_any_number_of_rows_but_the_same_everywhere() -> None:
    inputs = (TensorMetadata("a", "FP32", (4, 2)), TensorMetadata("b", "INT64", (4,)))
    found = plans(inputs, Sharing.FIXED, 4)
    assert take(found, [a(3), b(3)]).rows == 3
    assert take(found, [a(9), b(9)]).rows == 9
    with pytest.raises(InvalidInput, match="as many rows in every input"):
        take(found, [a(3), b(4)])
    with pytest.raises(InvalidInput, match=r"expected \[-1, 2\]"):
        take(found, [a(4, 3), b(4)])


def test_text_is_decoded_before_it_meets_others() -> None:
    found = plans(TEXT)
    work = take(found, [Tensor.from_raw("word", "BYTES", (2, 1), b"\x01\0\0\0a\x02\0\0\0\xc3\xbc")])
    assert work.text is not None
    assert work.text[0].tolist() == [["a"], ["ü"]]
    assert work.nbytes == 11


@pytest.mark.parametrize("raw", [b"\x01\0\0\0\xff", b"\x05\0\0\0a", b"", b"\x01\0\0\0ab"])
def test_broken_text_is_the_callers_own_error(raw: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"inputs\[0\].data"):
        take(plans(TEXT), [Tensor.from_raw("word", "BYTES", (1, 1), raw)])


def test_the_table_of_plans_is_bounded() -> None:
    found = plans()
    for rows in range(1, 3000):
        take(found, [a(rows), b(rows)])
    assert len(found._plans) <= 1024
