"""Whether a feature spec and a model fit each other, and whether the model's rows keep apart: found out before anything is
shipped.
"""

from collections.abc import Sequence

import numpy as np

from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput
from penstock.features.plan import plan
from penstock.features.spec import FeatureSpec
from penstock.features.value import NUMPY_KINDS
from penstock.onnx import Session
from penstock.tensors import DATATYPES, Array, datatype_of


def check_tensors(spec: FeatureSpec, inputs: Sequence[TensorMetadata]) -> None:
    """Raises InvalidInput naming the tensor of the spec, or the model's input, that has no counterpart of its type and shape."""
    wanted = {tensor.name: tensor for tensor in inputs}
    for made in plan(spec).tensors:
        field = f"features.yaml: tensors.{made.name}"
        tensor = wanted.pop(made.name, None)
        if tensor is None:
            raise InvalidInput(f"the model has no such input; it has {', '.join(t.name for t in inputs)}", field=field)
        datatype = datatype_of(NUMPY_KINDS[made.kind])
        if datatype != tensor.datatype:
            kind = next(k for k, dtype in NUMPY_KINDS.items() if dtype == DATATYPES[tensor.datatype].dtype)
            raise InvalidInput(
                f"makes {datatype}, the model takes {tensor.datatype}; write {made.name}: {{features: […], type: {kind}}}",
                field=field,
            )
        shape = (-1, *made.row_shape)
        if len(shape) != len(tensor.shape) or any(b not in (a, -1) for a, b in zip(shape[1:], tensor.shape[1:], strict=True)):
            hint = "; give it rank: 1" if len(tensor.shape) == 1 and made.row_shape == (1,) else ""
            hint = (
                "; make all texts as long, with maxLength and pad: maxLength" if made.source and len(tensor.shape) == 2 else hint
            )
            raise InvalidInput(f"makes {list(shape)}, the model takes {list(tensor.shape)}{hint}", field=field)
    if wanted:
        raise InvalidInput(
            "the spec makes no tensor for this input of the model", field=f"features.yaml: tensors.{next(iter(wanted))}"
        )


def refuse_fusing(spec: FeatureSpec) -> None:
    """Raises InvalidInput if a graph cannot hold all that the spec does to its features."""
    for feature in plan(spec).inputs:
        if feature.tokenise is not None or feature.words is not None:
            raise InvalidInput(
                f"{feature.feature.name} is taken apart by {feature.steps[0].kind}, which no operator can do: "
                "encoder and model cannot be one graph; build without --fuse",
                field="--fuse",
            )


def rows_independent(session: Session, tensors: dict[str, Array] | None, declared: bool | None) -> bool:
    """Whether rows come out the same alone and in batches, tried on the examples' tensors, or on random ones.

    A symbolic first axis proves nothing. What the user `declared` counts only where trying is impossible, or if it is False.
    """
    from penstock_predictor.axes import Sharing, candidate
    from penstock_predictor.rows import examine
    from penstock_predictor.samples import gather

    rows = []
    if tensors is not None:
        count = len(next(iter(tensors.values())))
        rows = [{name: np.ascontiguousarray(array[i : i + 1]) for name, array in tensors.items()} for i in range(count)]
    rule = candidate(session.inputs)
    found = examine(session, rule, list(gather(session, rule, rows)), declared)
    return found.sharing is not Sharing.ALONE
