"""The steps before the graph that take texts apart are the same in JavaScript: the same tokenizer.json, the same words."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from penstock.features.encodings.tokenise import MAX_BYTES, Tokenise
from penstock.features.encodings.words import Words
from penstock.features.tokenising import Tokeniser
from penstock.testing.tokenizer import tokenizer_json

HERE = Path(__file__).parent / "runtimes"
TEXTS = [
    "The flight was late, and THIS is about nothing!",
    "",
    "flights flying x2",
    "été à Noël, ΟΔΟΣ İstanbul Straße",
    "日本語 の x_1 👍 a\u0301b",
    "team\u00a0won\tthe game.",
]
PAIRS = [["the flight was late", "it is late"], ["", "money"], ["sport !", "a team?"]]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_tokens_and_words_are_those_of_a_page(tmp_path: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs node and npm: apt-get install nodejs npm")
    (tmp_path / "package.json").write_text('{"private": true}')
    install = ["npm", "install", "--no-audit", "--no-fund", "@huggingface/tokenizers@0.2.0"]
    if subprocess.run(install, cwd=tmp_path, capture_output=True, timeout=100, check=False).returncode:
        pytest.skip("needs @huggingface/tokenizers 0.2.0 from an npm registry")
    shutil.copy(HERE / "texts.mjs", tmp_path)
    tokenizer = tokenizer_json()
    given = {"tokenizer": tokenizer.decode(), "texts": TEXTS, "pairs": PAIRS}
    (tmp_path / "texts.json").write_text(json.dumps(given))
    done = subprocess.run(
        ["node", "texts.mjs", "texts.json"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)

    step = Tokenise("tokenizer.json", 512, None, "longest", "right", False, MAX_BYTES)
    here = Tokeniser(tokenizer, step)(TEXTS, None, "text").parts
    rows = zip(here["input_ids"].tolist(), here["attention_mask"].sum(axis=1).tolist(), strict=True)
    assert there["tokens"] == [ids[:length] for ids, length in rows]
    assert there["words"] == [Words(True, 1, MAX_BYTES).split(text) for text in TEXTS]
    for (text, other), made in zip(PAIRS, there["paired"], strict=True):
        parts = Tokeniser(tokenizer, step)([text], [other], "text").parts
        assert made["ids"] == parts["input_ids"][0].tolist()
        assert made["types"] == parts["token_type_ids"][0].tolist()
