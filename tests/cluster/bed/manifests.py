"""The project's manifests as values, with requests that several pods on a small node leave room for."""

from typing import Any

import yaml
from bed.places import ROOT

MANIFESTS = ROOT / "manifests"


def documents(name: str) -> list[dict[str, Any]]:
    """The documents of one file, by its name without `.yaml`."""
    found = [document for document in yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()) if document]
    for document in found:
        _shrink(document)
    return found


def collocated(name: str) -> dict[str, Any]:
    """manifests/collocated.yaml under a name of its own, with patience."""
    (document,) = documents("collocated")
    document["metadata"]["name"] = name
    transformer = document["spec"]["predictor"]["containers"][0]
    transformer["args"] = [argument.replace("flights", name) for argument in transformer["args"]]
    transformer["env"].append({"name": "PENSTOCK_TRANSFORMER_STORE_TIMEOUT_MS", "value": "10000"})
    document["spec"]["predictor"]["model"]["resources"] = {
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"memory": "1Gi"},
    }
    return document


def _shrink(node: Any) -> None:
    if isinstance(node, dict):
        requests = node.get("requests")
        if isinstance(requests, dict) and "cpu" in requests:
            requests["cpu"] = "50m"
        for value in node.values():
            _shrink(value)
    elif isinstance(node, list):
        for value in node:
            _shrink(value)
