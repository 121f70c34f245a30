"""Texts to tokens: a step before the graph that ONNX cannot do, by the bundle's own tokenizer.json.

    texts (and their partners) -> Tokeniser -> Tokens {input_ids, attention_mask, token_type_ids} [rows, tokens], and what was cut

The library is imported where a bundle needs it, and nowhere else. It lets go of the GIL while it works, so a long text in a
thread holds up nobody; it is kept to that one thread, since the other cores have requests of their own.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput, TooLarge
from penstock.features.encodings.tokenise import PARTS, Tokenise
from penstock.tensors import Array

_PADDING = ("[PAD]", "<pad>", "<|padding|>", "<|endoftext|>", "</s>")
_STRATEGIES = {"longest": "longest_first", "first": "only_first", "second": "only_second"}


@dataclass(frozen=True, slots=True)
class Tokens:
    """`parts`: int64 `[rows, tokens]` by name (`PARTS`). `truncated`: bool `[rows]`, whether a text was cut."""

    parts: dict[str, Array]
    truncated: npt.NDArray[np.bool_]


class Tokeniser:
    """One tokenizer.json, set up as a step says. May be called from several threads at once."""

    def __init__(self, data: bytes, step: Tokenise) -> None:
        """Raises InvalidInput, naming the file, for one that the library does not read or that cannot do what the step asks."""
        self._step = step
        self._tokenizer = _open(data, step)

    def __call__(self, texts: Sequence[str], others: Sequence[str] | None, name: str) -> Tokens:
        """Tokens of at least one text, or pair. Raises TooLarge for `rows[i].name` (the partner's own name for a partner)."""
        refuse_long(texts, name, self._step.max_bytes)
        if others is None:
            found = self._tokenizer.encode_batch(list(texts))
        else:
            refuse_long(others, self._step.other or name, self._step.max_bytes)
            found = self._tokenizer.encode_batch(list(zip(texts, others, strict=True)))
        parts = (
            [encoding.ids for encoding in found],
            [encoding.attention_mask for encoding in found],
            [encoding.type_ids for encoding in found],
        )
        truncated = np.array([bool(encoding.overflowing) for encoding in found])
        return Tokens({part: np.array(lists, np.int64) for part, lists in zip(PARTS, parts, strict=True)}, truncated)


def refuse_long(texts: Sequence[str], name: str, most: int) -> None:
    """Raises TooLarge for `rows[i].name` of the first text of more than `most` bytes in UTF-8."""
    for row, text in enumerate(texts):
        # A character is one to four bytes: most texts need not be encoded to know that they are short enough.
        if 4 * len(text) > most and len(text.encode()) > most:
            raise TooLarge(f"{len(text.encode())} bytes of text, the limit is {most}", field=f"rows[{row}].{name}")


def _open(data: bytes, step: Tokenise) -> Any:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise InvalidInput("needs the package tokenizers (pip install penstock[text])", field=step.file) from None
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises nothing narrower
        raise InvalidInput(f"not a tokenizer.json that can be read: {str(error)[:200]}", field=step.file) from None
    special = tokenizer.num_special_tokens_to_add(step.other is not None)
    if step.max_length <= special:
        raise InvalidInput(f"maxLength is {step.max_length}, and {special} tokens are added to every text", field=step.file)
    tokenizer.enable_truncation(step.max_length, strategy=_STRATEGIES[step.truncate], direction=step.side)
    tokenizer.enable_padding(**_padding(tokenizer, step), length=step.max_length if step.padded else None)
    return tokenizer


def _padding(tokenizer: Any, step: Tokenise) -> dict[str, Any]:
    """How this tokenizer pads: as its file says, else with the usual token."""
    given = tokenizer.padding
    if given is not None:
        return {name: given[name] for name in ("pad_id", "pad_token", "pad_type_id", "direction")}
    token = next((token for token in _PADDING if tokenizer.token_to_id(token) is not None), None)
    if token is None:
        raise InvalidInput("has no token to pad with; set `padding` in it", field=step.file)
    return {"pad_id": tokenizer.token_to_id(token), "pad_token": token}
