"""Texts on their way into the graph: taken apart into tokens or words, by the steps that run before it.

    columns of text -> TextSteps -> the graph's inputs (`text__input_ids` …; `text` [rows, words] and `text__length`)

A text that may be missing gets its default here, since the graph never sees the text itself.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from penstock.columns import Column
from penstock.errors import InvalidInput
from penstock.features.definition import default_of
from penstock.features.plan import LENGTH_SUFFIX, FeaturePlan, Plan, plan
from penstock.features.spec import FeatureSpec
from penstock.features.tokenising import Tokeniser, refuse_long
from penstock.features.value import Value
from penstock.tensors import Array

Truncated = dict[str, Array]
"""Bool `[rows]` by feature: whether its text was cut to the model's length."""

_MAX_FILE_BYTES = 256 << 20


class TextSteps:
    """The steps before the graph of one spec that read text. Keeps no state: may be used from several threads at once."""

    def __init__(self, planned: Plan, files: Mapping[str, bytes]) -> None:
        """`files` by the names that the spec gives them. Raises InvalidInput for one that is missing or not what it should be."""
        self._plan = planned
        self._sources = {tensor.source for tensor in planned.tensors}
        self.tokenised = tuple(f for f in planned.inputs if f.tokenise is not None)
        self._tokenisers = {f.feature.name: _tokeniser(f, files) for f in self.tokenised}
        partners = {name for f in self.tokenised for step in f.steps for name in step.needs()}
        words = {f.feature.name for f in planned.inputs if f.words is not None}
        self.names = tuple(dict.fromkeys((*self._tokenisers, *partners, *words)))

    def size(self, columns: Mapping[str, Column]) -> int:
        """Characters of all texts that would be taken apart, which is what that costs."""
        return sum(sum(map(len, columns[name].values.tolist())) for name in self.names)

    def feeds(self, columns: Mapping[str, Column], truncated: Truncated | None) -> dict[str, Array]:
        """The graph's inputs that are tokens. Raises TooLarge for `rows[i].name`."""
        feeds: dict[str, Array] = {}
        for feature in self.tokenised:
            name, step = feature.feature.name, feature.tokenise
            assert step is not None
            others = None if step.other is None else self._texts(self._plan.features[step.other], columns[step.other])
            tokens = self._tokenisers[name](self._texts(feature, columns[name]), others, name)
            if truncated is not None:
                truncated[name] = tokens.truncated
            parts = {f"{name}__{part}": array for part, array in tokens.parts.items()}
            feeds |= {source: array for source, array in parts.items() if source in self._sources}
        return feeds

    def words(self, feature: FeaturePlan, column: Column) -> dict[str, Array]:
        """The graph's inputs of a text that is split into words. Raises TooLarge for `rows[i].name`."""
        name, step = feature.feature.name, feature.words
        assert step is not None
        texts = self._texts(feature, column)
        refuse_long(texts, name, step.max_bytes)
        split = step.apply(Value(np.array([*texts, ""], object)[:-1]), {})
        assert split.inside is not None
        return {name: split.array, name + LENGTH_SUFFIX: split.inside.sum(axis=1, dtype=np.int64)}

    def _texts(self, feature: FeaturePlan, column: Column) -> list[str]:
        texts: list[str] = column.values.tolist()
        if feature.feature.missing.policy != "default" or not column.missing.any():
            return texts
        default = default_of(feature)
        return [default if gone else text for text, gone in zip(texts, column.missing.tolist(), strict=True)]


def _tokeniser(feature: FeaturePlan, files: Mapping[str, bytes]) -> Tokeniser:
    step = feature.tokenise
    assert step is not None
    if step.file not in files:
        raise InvalidInput(f"the tokenizer of {feature.feature.name} is not there", field=step.file)
    return Tokeniser(files[step.file], step)


def files_beside(spec: FeatureSpec, folder: Path) -> dict[str, bytes]:
    """The files that a spec names, from the folder of its features.yaml. Raises InvalidInput for one that is not there."""
    found = {}
    for name in plan(spec, draft=True).files():
        path = folder / name
        try:
            with path.open("rb") as file:
                found[name] = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from None
    return found
