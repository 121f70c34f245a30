"""What a serving runtime gives its pods: resources, and the nodes that they may run on.

    chart's predictor.cpu, .gpu --PENSTOCK_OPERATOR_PREDICTOR_POD, …_GPU_POD (JSON)--> RuntimePod --> the pod of a verification

KServe takes a container's resources from its runtime and puts what an InferenceService names in their place, amount by amount
(MergeRuntimeContainers of its 0.20, a strategic merge), and where a pod may run from the runtime alone.

Invariant: a verification has what the version's pods will have, no more memory and no other nodes.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

Resources = dict[str, dict[str, int | float | str]]
"""A container's: `requests` and `limits`, amounts by name."""


class RuntimePod(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """The fields have the names and forms that they have in a pod, but for `resources`, which are those of its one container."""

    resources: Resources = {}
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    affinity: dict[str, Any] = {}

    def resources_with(self, own: Mapping[str, Mapping[str, int | str]] | None) -> Resources:
        """The resources of a pod whose InferenceService names `own`."""
        over = own or {}
        names = [*self.resources, *(name for name in over if name not in self.resources)]
        merged: Resources = {name: {**self.resources.get(name, {}), **over.get(name, {})} for name in names}
        return {name: amounts for name, amounts in merged.items() if amounts}

    def placement(self) -> dict[str, Any]:
        """Fields of a pod's spec; without those of which the runtime says nothing."""
        said = {"nodeSelector": self.node_selector, "tolerations": list(self.tolerations), "affinity": self.affinity}
        return {name: value for name, value in said.items() if value}


# As the chart's values.
ON_CPU = RuntimePod(resources={"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}})
ON_GPU = RuntimePod(
    resources={"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}},
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
)


def read_runtime_pod(text: str) -> RuntimePod:
    """A runtime's pod of its JSON. Raises ValueError with the field."""
    try:
        return msgspec.json.decode(text, type=RuntimePod)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


def write_runtime_pod(pod: RuntimePod) -> str:
    """The same as JSON."""
    return msgspec.json.encode(pod).decode()
