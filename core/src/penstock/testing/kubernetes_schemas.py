"""JSON Schemas of Kubernetes' resources, for validators that know no OpenAPI: from the API server's own document, and from CRDs.

swagger.json, CRDs --> one self-contained schema a kind: <kind>_<group>_<version>.json, as kubeconform's location names them

Stricter than an API server that prunes: a field that nobody declared is refused, since it is a field that was misspelt.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCATION = "{{.ResourceKind}}_{{.Group}}_{{.ResourceAPIVersion}}.json"
"""Of a schema inside its folder, in kubeconform's words."""

Schema = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_INT_OR_STRING: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
_PREFIX = "#/definitions/"
_SPECIAL: dict[str, Schema] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"anyOf": [{"type": "number"}, {"type": "string"}]},
}


def schemas_of_swagger(document: Schema) -> Iterator[tuple[str, Schema]]:
    """The file name and schema of every kind in an API server's `swagger.json`."""
    definitions = {name: _SPECIAL.get(name) or _strict(schema) for name, schema in document["definitions"].items()}
    for name, schema in document["definitions"].items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            used = {found: definitions[found] for found in _references(name, definitions)}
            yield file_name(kind["kind"], kind["group"], kind["version"]), {**definitions[name], "definitions": used}


def schemas_of_crd(crd: Schema) -> Iterator[tuple[str, Schema]]:
    """The same of a CustomResourceDefinition, one a version."""
    spec = crd["spec"]
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] = {
            **schema.get("properties", {}),
            "apiVersion": {"const": f"{spec['group']}/{version['name']}"},
            "kind": {"const": spec["names"]["kind"]},
            "metadata": {"type": "object"},
        }
        yield file_name(spec["names"]["kind"], spec["group"], version["name"]), schema


def file_name(kind: str, group: str, version: str) -> str:
    """`deployment_apps_v1.json`. kubeconform writes kinds in lower case, and takes the version for the core group's name."""
    return f"{kind.lower()}_{group or version}_{version}.json"


def write_schemas(schemas: Iterator[tuple[str, Schema]], folder: Path) -> int:
    """Write them into a folder; how many there were."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, schema in schemas:
        # kubeconform takes a schema that does not say otherwise for one of draft 4, which knew no `const`.
        (folder / name).write_text(json.dumps({"$schema": _DRAFT, **schema}))
        count += 1
    return count


def _references(name: str, definitions: dict[str, Schema]) -> set[str]:
    """Names of all definitions that one needs, itself left out unless it needs itself."""
    found: set[str] = set()
    waiting = [definitions[name]]
    while waiting:
        for reference in _direct_references(waiting.pop()):
            if reference not in found:
                found.add(reference)
                waiting.append(definitions[reference])
    return found


def _direct_references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_PREFIX)
        for value in schema.values():
            yield from _direct_references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _direct_references(value)


def _strict(schema: Schema) -> Schema:
    """A schema as JSON Schema: no descriptions, Kubernetes' own words turned into the standard's, unknown fields refused."""
    if schema.get("x-kubernetes-int-or-string"):
        return dict(_INT_OR_STRING)
    kept: Schema = {}
    for key, value in schema.items():
        if key.startswith("x-kubernetes-") or key in ("description", "default", "format", "externalDocs", "example"):
            continue
        if key in ("properties", "definitions"):
            kept[key] = {name: _strict(inner) for name, inner in value.items()}
        elif key in ("allOf", "anyOf", "oneOf"):
            # Bounds on what stands beside them: strict here they would refuse each other's fields.
            kept[key] = [_bound(inner) for inner in value]
        elif key == "not":
            kept[key] = _bound(value)
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            kept[key] = _strict(value)
        else:
            kept[key] = value
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    if "properties" in kept and "additionalProperties" not in kept and not open_ended:
        kept["additionalProperties"] = False
    for bound, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(kept.get(bound), bool) and kept.pop(bound):
            # OpenAPI 3.0 says with a flag what JSON Schema says with the number.
            kept[bound] = kept.pop(inclusive)
    if schema.get("nullable") and isinstance(kept.get("type"), str):
        kept["type"] = [kept["type"], "null"]
    return kept


def _bound(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-") and key != "description"}
