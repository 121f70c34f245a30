"""A spec worked out: each feature's encodings with the types between them, and each tensor's parts, type and width.

    FeatureSpec --plan--> Plan --> definition (numpy) | compiler (ONNX) | fitting

Making the plan is the second half of checking a spec: what reading alone cannot see (an encoding that does not fit what arrives,
a tensor that mixes text and numbers) is refused here, by field.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from penstock.columns import FEATURE_DTYPES
from penstock.errors import InvalidInput
from penstock.features.encodings import ENCODINGS
from penstock.features.encodings.encoding import Encoding
from penstock.features.encodings.image import Image
from penstock.features.encodings.tokenise import PARTS, Tokenise
from penstock.features.encodings.words import Words
from penstock.features.parameters import Parameters, one_of
from penstock.features.spec import Feature, FeatureSpec, Step, TensorForm
from penstock.features.value import ValueType

MISSING_SUFFIX = "__missing"
LENGTH_SUFFIX = "__length"
# Ends of names that the graph's further inputs have.
SUFFIXES = (MISSING_SUFFIX, LENGTH_SUFFIX, *(f"__{part}" for part in PARTS))
_FLOATS = ("float32", "float64")
_TENSOR_KINDS = ("float16", "float32", "float64", "int32", "int64", "bool", "string", "uint8")


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """A feature with its steps made: `raw` is the type behind the default, `result` what goes into tensors."""

    feature: Feature
    raw: ValueType
    steps: tuple[Encoding, ...]
    result: ValueType

    @property
    def is_list(self) -> bool:
        return self.feature.length is not None

    @property
    def mask_input(self) -> str | None:
        """The name of the graph's bool input that says what is missing, if there is one: not for floats (NaN), not where rows are
        refused.
        """
        scalar_float = self.raw.kind in _FLOATS and not self.is_list
        if self.feature.missing.policy == "reject" or scalar_float or self.words is not None:
            return None
        return self.feature.name + MISSING_SUFFIX

    @property
    def image(self) -> Image | None:
        """The image step, which says what to resize to."""
        step = self.steps[0] if self.steps else None
        return step if isinstance(step, Image) else None

    @property
    def tokenise(self) -> Tokenise | None:
        """The step that turns this text into tokens."""
        step = self.steps[0] if self.steps else None
        return step if isinstance(step, Tokenise) else None

    @property
    def words(self) -> Words | None:
        """The step that turns this text into words."""
        step = self.steps[0] if self.steps else None
        return step if isinstance(step, Words) else None

    @property
    def stays_list(self) -> bool:
        """Whether what goes into a tensor is a list still, padding and all."""
        return self.is_list and not any(step.consumes_list for step in self.steps)


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """A model input: element kind and the shape of one row. `output` is its name in the graph, which no feature has. `source` is
    the graph's input of a tensor that is one part of a tokenised text.
    """

    name: str
    parts: tuple[str, ...]
    kind: str
    row_shape: tuple[int, ...]
    output: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`features` in the spec's order; `inputs` those among them that encoding reads, `graph_inputs` those that the graph reads as
    they are, or as lists of words: all but tokenised texts and their partners.
    """

    features: dict[str, FeaturePlan]
    tensors: tuple[TensorPlan, ...]
    inputs: tuple[FeaturePlan, ...]
    graph_inputs: tuple[FeaturePlan, ...]

    def files(self) -> tuple[str, ...]:
        """The files that the steps before the graph read, each once."""
        return tuple(dict.fromkeys(step.file for f in self.inputs if (step := f.tokenise) is not None))


def plan(spec: FeatureSpec, *, draft: bool = False) -> Plan:
    """Work a spec out. In a draft, parameters that fitting computes may be left out. Raises InvalidInput naming the field."""
    raws = {feature.name: raw_type(feature) for feature in spec.features}
    features = {f.name: _plan_feature(f, index, raws, draft) for index, f in enumerate(spec.features)}
    outputs = {name: _free_name(name, features, spec.tensors.keys() - {name}) for name in spec.tensors}
    tensors = tuple(
        _plan_tensor(name, parts, spec.forms.get(name, TensorForm()), features, outputs[name])
        for name, parts in spec.tensors.items()
    )
    used = {part for parts in spec.tensors.values() for part in parts}
    read = {name for name in used if features[name].tokenise is None}
    read |= {other for name in read for step in features[name].steps for other in step.needs()}
    used |= {other for name in used for step in features[name].steps for other in step.needs()}
    inputs = tuple(f for name, f in features.items() if name in used)
    return Plan(features, tensors, inputs, tuple(f for f in inputs if f.feature.name in read))


def raw_type(feature: Feature) -> ValueType:
    """The type of a feature's values once its default is in place."""
    element = element_type(feature.type)
    kind = {"timestamp": "float64", "image": "uint8"}.get(element, element)
    masked = feature.missing.policy == "keep" and kind not in _FLOATS
    listed = feature.length is not None
    return ValueType(kind, (feature.length,) if feature.length is not None else (), masked, element == "timestamp", listed)


def element_type(feature_type: str) -> str:
    """The type of the elements of `list<T>`, or the type itself. Raises InvalidInput for an unknown one."""
    element = feature_type[5:-1] if feature_type.startswith("list<") and feature_type.endswith(">") else feature_type
    if element not in FEATURE_DTYPES or (element == "image" and element != feature_type):
        raise InvalidInput(f"unknown type {feature_type!r}; expected {', '.join(FEATURE_DTYPES)} or list<…> of one")
    return element


def make_step(step: Step, given: ValueType, scope: "FeatureScope", path: str, draft: bool) -> Encoding:
    """One encoding, its parameters checked."""
    encoding = ENCODINGS[step.kind]
    values: dict[str, Any] = step.parameters
    if draft:
        values = _stand_in(encoding, values, given)
    parameters = Parameters(values, path)
    made = encoding.parse(parameters, given, scope)
    parameters.done()
    return made


def _stand_in(encoding: type[Encoding], values: dict[str, Any], given: ValueType) -> dict[str, Any]:
    stand_ins = encoding.placeholders(given)
    if "size" in values:
        stand_ins.pop("categories", None)
    if "categories" in values and "values" in stand_ins and isinstance(values["categories"], list):
        stand_ins["values"] = [0.0] * len(values["categories"])
    if "vocabulary" in stand_ins and isinstance(values.get("ngrams"), list):
        stand_ins["vocabulary"] = [" ".join(["a"] * max([n for n in values["ngrams"][:1] if type(n) is int], default=1))]
    return stand_ins | values


@dataclass(frozen=True, slots=True)
class FeatureScope:
    """The rest of the spec as one feature's steps see it."""

    feature: str
    raws: dict[str, ValueType]

    def type_of(self, feature: str, field: str) -> ValueType:
        if feature not in self.raws:
            raise InvalidInput(f"no feature is named {feature!r}", field=field)
        return self.raws[feature]


def _plan_feature(feature: Feature, index: int, raws: dict[str, ValueType], draft: bool) -> FeaturePlan:
    scope = FeatureScope(feature.name, raws)
    given = raws[feature.name]
    steps: list[Encoding] = []
    for position, step in enumerate(feature.encode):
        path = step_path(feature, index, position)
        made = make_step(step, given, scope, path, draft)
        if made.before_graph and position:
            raise InvalidInput("runs before the graph and has to be the first step", field=path)
        if steps and isinstance(steps[0], Tokenise):
            raise InvalidInput("tokens go to the model as they are; expected no further step", field=path)
        given = made.result(given)
        steps.append(made)
    if given.listed and -1 in given.shape:
        raise InvalidInput("words are no tensor; expected multiHot or ngramCounts behind them", field=f"features[{index}].encode")
    if raws[feature.name].kind == "uint8" and not (steps and isinstance(steps[0], Image)):
        raise InvalidInput("a feature of type image needs the encoding image, first", field=f"features[{index}].encode")
    return FeaturePlan(feature, raws[feature.name], tuple(steps), given)


def step_path(feature: Feature, index: int, position: int) -> str:
    """Where a step stands in the file, as errors name it."""
    place = f"[{position}]" if len(feature.encode) > 1 else ""
    return f"features[{index}].encode{place}.{feature.encode[position].kind}"


def _plan_tensor(
    name: str, parts: tuple[str, ...], form: TensorForm, features: dict[str, FeaturePlan], output: str
) -> TensorPlan:
    field = f"tensors.{name}"
    for index, part in enumerate(parts):
        if part not in features:
            raise InvalidInput(f"no feature is named {part!r}", field=f"{field}[{index}]")
        if part in parts[:index]:
            raise InvalidInput(f"{part} is given twice", field=f"{field}[{index}]")
    results = [features[part].result for part in parts]
    kind = _tensor_kind(field, form, parts, results)
    tokenised = [part for part in parts if features[part].tokenise is not None]
    if tokenised:
        if len(parts) > 1:
            raise InvalidInput("a tokenised text fills a tensor by itself", field=field)
        source = f"{parts[0]}__{_part_of(name, form, field)}"
        return TensorPlan(name, parts, kind, results[0].shape, output, source)
    if form.part is not None:
        raise InvalidInput("is for tokenised texts", field=f"{field}.part")
    if any(len(result.shape) > 1 for result in results):
        if len(results) > 1:
            raise InvalidInput("an image fills a tensor by itself", field=field)
        return TensorPlan(name, parts, kind, results[0].shape, output)
    width = sum(result.width for result in results)
    if form.rank == 1 and width != 1:
        raise InvalidInput(f"rank 1 is for a single number a row, these features make {width}", field=f"{field}.rank")
    return TensorPlan(name, parts, kind, () if form.rank == 1 else (width,), output)


def _part_of(name: str, form: TensorForm, field: str) -> str:
    if form.rank != 2:
        raise InvalidInput("tokens are of rank 2", field=f"{field}.rank")
    part = form.part or name
    if part not in PARTS:
        raise InvalidInput(f"expected the part of the tokens that this input is: {one_of(PARTS)}", field=f"{field}.part")
    return part


def _free_name(name: str, features: dict[str, FeaturePlan], others: Set[str]) -> str:
    """The tensor's own name in the graph, unless an input has it, or it looks like one of the compiler's (`/…`)."""
    taken = others | {feature + suffix for feature in features for suffix in ("", *SUFFIXES)}
    name = f"tensor{name}" if name.startswith("/") else name
    while name in taken:
        name += "__encoded"
    return name


def _tensor_kind(field: str, form: TensorForm, parts: tuple[str, ...], results: list[ValueType]) -> str:
    kinds = {"float32" if result.masked and result.numeric else result.kind for result in results}
    text = [part for part, result in zip(parts, results, strict=True) if result.kind == "string"]
    if "string" in kinds and len(kinds) > 1:
        raise InvalidInput(f"mixes text ({', '.join(text)}) and numbers; encode the text, e.g. with oneHot", field=field)
    if kinds == {"string"} and any(result.masked for result in results):
        raise InvalidInput("text that is missing cannot stay missing in a tensor; give a default", field=field)
    natural = kinds.pop() if len(kinds) == 1 else "float32" if kinds & {"float32", "float64"} else "int64"
    natural = "float32" if natural == "float64" else natural
    if form.type is None:
        return natural
    if form.type not in _TENSOR_KINDS:
        raise InvalidInput(f"unknown type {form.type!r}; expected {', '.join(_TENSOR_KINDS)}", field=f"{field}.type")
    fits = (form.type == "string") == (natural == "string") and (form.type.startswith("float") or not natural.startswith("float"))
    if not fits or (form.type in ("bool", "uint8") and natural != form.type):
        raise InvalidInput(f"these features are {natural} and do not become {form.type}; add a cast step", field=f"{field}.type")
    return form.type
