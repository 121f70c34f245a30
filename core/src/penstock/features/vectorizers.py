"""scikit-learn's transformers of texts and lists as steps of a feature: the same columns, in the same order.

    CountVectorizer -> words, ngramCounts       TfidfVectorizer -> the same, tfIdf       MultiLabelBinarizer -> multiHot

Only settings whose words are the step's own are understood; anything else (another analyzer, a tokenizer of one's own, accents
stripped) is refused by name, because serving would split texts another way than training did.
"""

from typing import Any

from penstock.errors import InvalidInput
from penstock.features.spec import Step

# The least number of characters of a word, by scikit-learn's patterns that mean runs of word characters.
_PATTERNS = {r"(?u)\b\w\w+\b": 2, r"\b\w\w+\b": 2, r"(?u)\b\w+\b": 1, r"\b\w+\b": 1, r"(?u)\w+": 1, r"\w+": 1}


def count_steps(vectorizer: Any, field: str) -> list[Step]:
    """The steps of a fitted CountVectorizer or TfidfVectorizer. Raises InvalidInput at `field` for what has no counterpart."""
    shortest, longest = (int(length) for length in vectorizer.ngram_range)
    _refuse(vectorizer, longest, field)
    words: dict[str, Any] = {"minLength": _PATTERNS[vectorizer.token_pattern]}
    counts: dict[str, Any] = {"vocabulary": sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)}
    steps = [
        Step("words", words | ({} if vectorizer.lowercase else {"lowercase": False})),
        Step("ngramCounts", counts | {"ngrams": [shortest, longest]} | ({"binary": True} if vectorizer.binary else {})),
    ]
    return [*steps, tf_idf_step(vectorizer)] if hasattr(vectorizer, "use_idf") else steps


def _refuse(vectorizer: Any, longest: int, field: str) -> None:
    for name in ("tokenizer", "preprocessor", "strip_accents"):
        if getattr(vectorizer, name) is not None:
            raise InvalidInput(f"{name} has no counterpart", field=field)
    if vectorizer.analyzer != "word":
        raise InvalidInput(f"analyzer={vectorizer.analyzer!r} has no counterpart; expected word", field=field)
    if vectorizer.token_pattern not in _PATTERNS:
        known = next(iter(_PATTERNS))
        raise InvalidInput(f"token_pattern={vectorizer.token_pattern!r} has no counterpart; expected {known}", field=field)
    if vectorizer.stop_words is not None and longest > 1:
        raise InvalidInput("stop words have no counterpart with n-grams: they change which words are neighbours", field=field)


def tf_idf_step(transformer: Any) -> Step:
    """The step of a fitted TfidfTransformer, or of the one inside a TfidfVectorizer, behind ngramCounts."""
    columns = len(transformer.vocabulary_) if hasattr(transformer, "vocabulary_") else transformer.n_features_in_
    idf = [float(weight) for weight in transformer.idf_] if transformer.use_idf else [1.0] * columns
    norm = {"norm": transformer.norm or "none"}
    return Step("tfIdf", {"idf": idf} | norm | ({"sublinear": True} if transformer.sublinear_tf else {}))


def multi_hot_step(binarizer: Any) -> Step:
    """The step of a fitted MultiLabelBinarizer, for a feature of lists. What it has not seen gives no column, as there."""
    return Step("multiHot", {"categories": [label.item() if hasattr(label, "item") else label for label in binarizer.classes_]})
