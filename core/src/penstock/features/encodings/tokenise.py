"""tokenise: a text, or a pair of texts, to the numbers of its sub-words, for language models. Before the graph.

The tokenizer is a `tokenizer.json` of the bundle, run by the library `tokenizers` here and by its counterparts elsewhere (the
same file works in JavaScript). `maxLength` is the most tokens that the model takes: longer texts are cut, at the end unless
`side: left` says otherwise; of a pair (`with: other`) the longer one first, or only the `first` or the `second`. Rows are
padded to the longest of their batch, or all to `maxLength` with `pad: maxLength`. A text of more than `maxBytes` in UTF-8 is
refused.

It makes three parts, `int64 [rows, tokens]` each: `input_ids`, `attention_mask` (0 where there is padding) and `token_type_ids`
(1 for the second text). A tensor takes the part that it is named after, or the one that `part` names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from penstock.errors import InvalidInput
from penstock.features.encodings.encoding import Encoding, Scope
from penstock.features.parameters import Parameters
from penstock.features.value import GraphBuilder, GraphValue, Value, ValueType

PARTS = ("input_ids", "attention_mask", "token_type_ids")
MAX_TOKENS = 131_072
MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Tokenise(Encoding):
    """`tokenise: {file: tokenizer.json, maxLength: 256, with: question, truncate: longest, side: right, pad: longest}`"""

    file: str
    max_length: int
    other: str | None
    truncate: str
    side: str
    padded: bool
    max_bytes: int

    kind = "tokenise"
    before_graph = True

    @classmethod
    def parse(cls, p: Parameters, given: ValueType, scope: Scope) -> Self:
        require_text(p, given, cls.kind)
        other = p.text("with") if p.has("with") else None
        if other is not None:
            require_text(p, scope.type_of(other, p.field("with")), cls.kind, p.field("with"))
        elif p.has("truncate"):
            raise InvalidInput("is for pairs of texts", field=p.field("truncate"))
        return cls(
            p.text("file"),
            p.integer("maxLength", least=1, most=MAX_TOKENS),
            other,
            p.choice("truncate", ("longest", "first", "second"), "longest"),
            p.choice("side", ("right", "left"), "right"),
            p.choice("pad", ("longest", "maxLength"), "longest") == "maxLength",
            p.integer("maxBytes", MAX_BYTES, least=1, most=MAX_BYTES << 8),
        )

    def needs(self) -> tuple[str, ...]:
        return () if self.other is None else (self.other,)

    def result(self, given: ValueType) -> ValueType:
        return ValueType("int64", (self.max_length if self.padded else -1,))

    def apply(self, value: Value, others: Mapping[str, Value]) -> Value:
        return value

    def build(self, graph: GraphBuilder, value: GraphValue, others: Mapping[str, GraphValue]) -> GraphValue:
        return value


def require_text(p: Parameters, given: ValueType, kind: str, field: str | None = None) -> None:
    """Raises InvalidInput unless one text a row arrives, which is never missing."""
    if given.kind != "string" or given.shape:
        raise InvalidInput(f"{kind} needs one text a row, this feature is {given} here", field=field or p.path)
    if given.masked:
        raise InvalidInput(f"{kind} needs a text in every row; expected missing: reject, or a default", field=field or p.path)
