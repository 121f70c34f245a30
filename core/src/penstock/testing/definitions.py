"""CustomResourceDefinitions for an API server of the tests: ours as helm would render it, others' of
a schema that takes anything.

chart_definition(template), foreign_definition(group, …) --> KubernetesServer.define
"""

from pathlib import Path
from typing import Any

import yaml


def chart_definition(template: Path) -> dict[str, Any]:
    """A chart's template of a definition, of which only whole lines are helm's."""
    lines = (line for line in template.read_text().splitlines() if not line.startswith("{{"))
    document: dict[str, Any] = yaml.safe_load("\n".join(lines))
    return document


def foreign_definition(group: str, version: str, plural: str, kind: str, scope: str = "Namespaced") -> dict[str, Any]:
    """A resource of somebody else's, whatever is in it; its status is written by itself."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": scope, "versions": [served | {"subresources": {"status": {}}}], "names": names},
    }


INFERENCE_SERVICES = foreign_definition("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
