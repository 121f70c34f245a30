"""words: a text to the list of its words. Before the graph, the same in every language; exact.

The text is made lower case (Unicode's full mapping, unless `lowercase: false`), then its words are the longest runs of letters,
digits and underscores (Unicode's categories L and N, and `_`) of at least `minLength` such characters (default 1). In Python
that is `re.findall(r"\\w+", text.lower())`, in JavaScript `text.toLowerCase().match(/[\\p{L}\\p{N}_]+/gu)`. A text of more than
`maxBytes` in UTF-8 is refused. Behind it goes what makes columns of a list: multiHot or ngramCounts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from penstock.features.encodings.encoding import Encoding, Scope
from penstock.features.encodings.tokenise import MAX_BYTES, require_text
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Words(Encoding):
    """`words: {lowercase: true, minLength: 1}`"""

    lowercase: bool
    min_length: int
    max_bytes: int

    kind = "words"
    before_graph = True

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_text(p, given, cls.kind)
        return cls(
            p.flag("lowercase", True),
            p.integer("minLength", 1, least=1),
            p.integer("maxBytes", MAX_BYTES, least=1, most=MAX_BYTES << 8),
        )

    def split(self, text: str) -> list[str]:
        """The words of one text."""
        words = _WORD.findall(text.lower() if self.lowercase else text)
        return words if self.min_length == 1 else [word for word in words if len(word) >= self.min_length]

    def result(self, given: ValueType) -> ValueType:
        return ValueType("string", (-1,), listed=True)

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        lists = [self.split(text) for text in value.array.tolist()]
        width = max((len(words) for words in lists), default=0) or 1
        array = np.full((len(lists), width), "", object)
        for row, words in enumerate(lists):
            array[row, : len(words)] = words
        lengths = np.array([len(words) for words in lists], np.int64)
        return Value(array, inside=np.arange(width) < lengths[:, None])

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        return GraphValue(value.name, self.result(value.type), inside=value.inside)
