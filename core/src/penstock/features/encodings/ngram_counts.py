"""ngramCounts: how often each n-gram of a vocabulary is in a list of words. Exact (counts, as float32).

For lists of text, and for the `words` of a text. `ngrams: [1, 2]` counts single words and pairs of neighbours (default [1, 1]);
an entry of `vocabulary` is its words joined by single spaces, or, with [1, 1], an element of the list as it is. `binary: true`
gives 1 for any number. Columns are in the vocabulary's order. Fitted: `vocabulary`, the n-grams in at least `minCount` rows
(default 1), the `most` frequent of them (default 10,000), sorted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding, Scope
from penstock.features.parameters import Parameters, describe
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType
from penstock.tensors import Array

MAX_NGRAM = 8
MAX_VOCABULARY = 1_000_000


@dataclass(frozen=True, slots=True)
class NgramCounts(Encoding):
    """`ngramCounts: {vocabulary: [late, not late], ngrams: [1, 2], binary: false}`"""

    vocabulary: tuple[tuple[str, ...], ...]
    shortest: int
    longest: int
    binary: bool

    kind = "ngramCounts"
    consumes_list = True

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        if not given.listed or given.kind != "string":
            raise InvalidInput(f"ngramCounts needs a list of text, or words; this feature is {given} here", field=p.path)
        p.integer("minCount", 1, least=1)
        p.integer("most", 10_000, least=1, most=MAX_VOCABULARY)
        shortest, longest = _lengths(p.items("ngrams", [1, 1]), p.field("ngrams"))
        return cls(_vocabulary(p, shortest, longest), shortest, longest, p.flag("binary"))

    @classmethod
    def placeholders(cls, given: ValueType) -> dict[str, Any]:
        return {"vocabulary": ["a"]}

    @classmethod
    def fit(cls, value: Value, parameters: dict[str, Any], target: Array | None) -> dict[str, Any]:
        if "vocabulary" in parameters:
            return parameters
        shortest, longest = parameters.get("ngrams", [1, 1])
        rows = Counter(gram for row in _rows(value) for gram in {*_grams(row, shortest, longest)})
        kept = [(gram, count) for gram, count in rows.items() if count >= parameters.get("minCount", 1) and all(gram)]
        if not kept:
            raise InvalidInput("no training values to take a vocabulary from")
        frequent = sorted(kept, key=lambda item: (-item[1], item[0]))[: parameters.get("most", 10_000)]
        return {"vocabulary": sorted(" ".join(gram) for gram, _ in frequent)} | parameters

    def result(self, given: ValueType) -> ValueType:
        return ValueType("float32", (len(self.vocabulary),))

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        places = {gram: place for place, gram in enumerate(self.vocabulary)}
        counts = np.zeros((len(value.array), len(places)), np.float32)
        for row, words in enumerate(_rows(value)):
            for gram in _grams(words, self.shortest, self.longest):
                place = places.get(gram)
                if place is not None:
                    counts[row, place] += 1
        return Value(np.minimum(counts, 1) if self.binary else counts)

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        words = value.name
        if value.inside is not None:
            # No entry of a vocabulary is empty, so what is empty is counted nowhere.
            words = graph.node("Where", value.inside, words, graph.constant(np.array([[""]], object)))
        ordered = sorted(range(len(self.vocabulary)), key=lambda place: len(self.vocabulary[place]))
        lengths = [len(self.vocabulary[place]) for place in ordered]
        starts = [sum(length for length in lengths if length < n) for n in range(1, self.longest + 1)]
        counts = graph.node(
            "TfIdfVectorizer",
            graph.node("Transpose", words, perm=[1, 0]),
            mode="TF",
            min_gram_length=self.shortest,
            max_gram_length=self.longest,
            max_skip_count=0,
            ngram_counts=starts,
            ngram_indexes=ordered,
            pool_strings=[word for place in ordered for word in self.vocabulary[place]],
        )
        if self.binary:
            counts = graph.node("Min", counts, graph.constant(np.ones(1, np.float32)))
        return GraphValue(graph.node("Transpose", counts, perm=[1, 0]), self.result(value.type))


def _rows(value: Value) -> Iterator[list[str]]:
    for row, words in enumerate(value.array.tolist()):
        yield words if value.inside is None else words[: int(value.inside[row].sum())]


def _grams(words: Sequence[str], shortest: int, longest: int) -> Iterator[tuple[str, ...]]:
    for length in range(shortest, longest + 1):
        yield from (tuple(words[start : start + length]) for start in range(len(words) - length + 1))


def _lengths(given: list[Any], field: str) -> tuple[int, int]:
    if len(given) != 2 or any(type(n) is not int for n in given) or not 1 <= given[0] <= given[1] <= MAX_NGRAM:
        raise InvalidInput(f"expected the shortest and the longest number of words, from 1 to {MAX_NGRAM}", field=field)
    return given[0], given[1]


def _vocabulary(p: Parameters, shortest: int, longest: int) -> tuple[tuple[str, ...], ...]:
    entries = p.items("vocabulary")
    field = p.field("vocabulary")
    if not 1 <= len(entries) <= MAX_VOCABULARY:
        raise InvalidInput(f"expected 1 to {MAX_VOCABULARY} entries, got {len(entries)}", field=field)
    found: dict[tuple[str, ...], int] = {}
    for index, entry in enumerate(entries):
        where = f"{field}[{index}]"
        if not isinstance(entry, str) or not entry:
            raise InvalidInput(f"expected text, got {describe(entry)}; put it in quotes if it is text", field=where)
        gram = (entry,) if longest == 1 else tuple(entry.split(" "))
        if not shortest <= len(gram) <= longest or not all(gram):
            raise InvalidInput(
                f"expected {shortest} to {longest} words joined by single spaces, got {describe(entry)}", field=where
            )
        if found.setdefault(gram, index) != index:
            raise InvalidInput(f"{describe(entry)} is given twice, first as vocabulary[{found[gram]}]", field=where)
    return tuple(found)
