"""Inputs that a model takes, made at load: what warm-up, the row check and the cost profile are run with.

Golden examples of the bundle are the best samples; where there are none, values are drawn at random, from wide ranges first and
then from ever tamer ones, until the model runs. A model that takes nothing that can be guessed gets no samples, and then nothing
is assumed about it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from penstock.errors import PenstockError
from penstock.onnx import Session
from penstock.tensors import DATATYPES, Array
from penstock_predictor.axes import BatchRule, Sharing

Row = dict[str, Array]
"""One row: each input by name, with a first axis of length 1; for a model that is run alone, the whole of its inputs."""

# Lengths that are tried for axes whose length only the callers know: tables and sequences, then images, then the degenerate one.
_LENGTHS = (8, 13, 32, 224, 64, 1)
_SPANS = (100, 10, 2, 1)
# Rows of volumes or films are many megabytes each: few of them are enough.
_MOST_BYTES = 128 * 1024 * 1024
_WORDS = (("a", "b", "no", "yes", "long word", "", "Ünïcode"), ("1", "2", "30", "4.5"))


class Samples:
    """Rows that the model has been seen to take, all of equal shapes."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)

    def fitting(self, most_bytes: int) -> int:
        """The most rows whose tensors take no more than `most_bytes`, at least one."""
        return max(1, most_bytes // max(1, sum(array.nbytes for array in self.rows[0].values())))

    def batch(self, indices: Iterable[int]) -> Row:
        """The rows at `indices` (taken round the list) stacked along the first axis."""
        chosen = [self.rows[index % len(self.rows)] for index in indices]
        return chosen[0] if len(chosen) == 1 else {name: np.concatenate([row[name] for row in chosen]) for name in chosen[0]}


def gather(session: Session, rule: BatchRule, golden: Sequence[Row], wanted: int = 32) -> Iterator[Samples]:
    """Up to two sets of samples, the second of other lengths where axes vary. None if the model takes nothing that was tried."""
    if rule.sharing is Sharing.ALONE:
        wanted = 1
    alike = _like_first(golden)
    if alike and _taken(session, Samples(alike).batch(range(max(rule.size, 1)))):
        yield Samples([alike[index % len(alike)] for index in range(max(wanted, len(alike)))])
        return
    rng = np.random.default_rng(7)
    varies = any(not isinstance(axis, int) for axes in session.input_axes.values() for axis in axes[1:])
    found = 0
    for length in _LENGTHS if varies else _LENGTHS[:1]:
        shapes = _shapes(session, rule, length)
        count = min(wanted, max(2, _MOST_BYTES // _nbytes(session, shapes))) if wanted > 1 else 1
        for span, words in product(_SPANS, _WORDS):
            samples = Samples([_draw(session, shapes, span, words, rng) for _ in range(count)])
            if _taken(session, samples.batch(range(max(rule.size, 1)))):
                yield samples
                found += 1
                break
        if found == 2:
            return


def _like_first(golden: Sequence[Row]) -> list[Row]:
    """The golden rows whose shapes are those of the first: others cannot be stacked with it."""
    shapes = [{name: array.shape for name, array in row.items()} for row in golden]
    return [row for row, shape in zip(golden, shapes, strict=True) if shape == shapes[0]]


def _shapes(session: Session, rule: BatchRule, length: int) -> dict[str, tuple[int, ...]]:
    """Each input's shape in one row, with `length` for every axis behind the first that varies."""
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor in session.inputs:
        tail = tuple(length if axis == -1 else axis for axis in tensor.shape[1:])
        first = 1 if rule.sharing is not Sharing.ALONE or tensor.shape[:1] == (-1,) else (tensor.shape or (0,))[0]
        shapes[tensor.name] = (first, *tail) if tensor.shape else ()
    return shapes


def _nbytes(session: Session, shapes: dict[str, tuple[int, ...]]) -> int:
    return max(1, sum(DATATYPES[tensor.datatype].size * prod(shapes[tensor.name]) for tensor in session.inputs))


def _draw(
    session: Session, shapes: dict[str, tuple[int, ...]], span: int, words: tuple[str, ...], rng: np.random.Generator
) -> Row:
    return {tensor.name: _values(tensor.datatype, shapes[tensor.name], span, words, rng) for tensor in session.inputs}


def _values(datatype: str, shape: tuple[int, ...], span: int, words: tuple[str, ...], rng: np.random.Generator) -> Array:
    dtype = DATATYPES[datatype].dtype
    if datatype == "BYTES":
        values = np.empty(shape, dtype=object)
        values[...] = rng.choice(np.array(words, dtype=object), size=shape)
        return values
    if dtype.kind == "f":
        return np.asarray(rng.normal(size=shape) if span > 2 else rng.random(size=shape), dtype)
    return np.asarray(rng.integers(0, 2 if datatype == "BOOL" else span, size=shape), dtype)


def _taken(session: Session, feeds: Row) -> bool:
    try:
        session.run(feeds)
    except PenstockError:
        return False
    return True
