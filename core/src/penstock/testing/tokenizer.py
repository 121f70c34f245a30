"""A small tokenizer.json in the manner of BERT's, made by hand: for tests and examples of texts that need no download."""

import json
from typing import Any

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
WORDS = [
    *("the", "a", "is", "not", "this", "about", "it", "was", "on", "time", "late", "flight", "team", "won", "game"),
    *("bank", "rate", "rose", "sport", "money", "travel", "##s", "##ing", "##ed", ".", ",", "!", "?", "1", "2", "x", "##x", "é"),
]


def tokenizer_json(words: list[str] | None = None, **changes: Any) -> bytes:
    """The bytes of a tokenizer.json: `[PAD]` 0, `[UNK]` 1, `[CLS]` 2, `[SEP]` 3, then the words. `changes` replace its parts."""
    vocabulary = [*SPECIAL, *(WORDS if words is None else words)]
    special = {token: {"id": token, "ids": [SPECIAL.index(token)], "tokens": [token]} for token in ("[CLS]", "[SEP]")}
    start, end = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
    first, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    pair = [start, first, end, second, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": token, "special": True} | dict.fromkeys(_FLAGS, False)
            for index, token in enumerate(SPECIAL)
        ],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": False, "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [start, first, end], "pair": pair, "special_tokens": special},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {word: index for index, word in enumerate(vocabulary)},
        },
    }  # fmt: skip
    return json.dumps(document | changes, ensure_ascii=False).encode()
