"""Writes docs/chart.md: the chart's values, their types and defaults, out of values.schema.json and values.yaml.

`tools/write_chart_page.py` writes the page; a test holds the page to what this makes.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "penstock"
PAGE = ROOT / "docs" / "chart.md"
HEAD = """\
# The chart's values

`charts/penstock`; [operations.md](operations.md) says what to do with them. A key that is not here is refused, wherever it
stands. Three sets to begin with are beside the chart: `values-development.yaml`, `values-staging.yaml` and
`values-production.yaml`. This page is written by `tools/write_chart_page.py`.

"""

Schema = dict[str, Any]


def page() -> str:
    """The whole page."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    parts = [HEAD]
    for name, part in schema["properties"].items():
        if name == "global":
            continue
        parts.append(f"## `{name}`\n\n{part['description']}\n\n| value | default | what |\n|---|---|---|\n")
        for path, each, default in rows(name, part, values[name], schema):
            parts.append(f"| `{path}` | {shown(default)} | {text(each)} |\n")
        parts.append("\n")
    return "".join(parts).rstrip() + "\n"


def rows(path: str, schema: Schema, default: Any, root: Schema) -> Iterator[tuple[str, Schema, Any]]:
    """Path, schema and default of every value, objects opened up; of lists also what an entry may say."""
    schema = resolved(schema, root)
    properties = schema.get("properties", {})
    if properties and not re.search(r"(affinity|resources|tolerations)$", path):
        for name, inner in properties.items():
            below = default.get(name) if isinstance(default, dict) else None
            yield from rows(f"{path}.{name}", inner, below, root)
        return
    yield path, schema, default
    items = resolved(schema["items"], root) if isinstance(schema.get("items"), dict) else {}
    if items.get("description") and items.get("properties"):
        for name, inner in items["properties"].items():
            yield from entries(f"{path}[].{name}", inner, root)


def entries(path: str, schema: Schema, root: Schema) -> Iterator[tuple[str, Schema, Any]]:
    """Of an entry of a list: what is left out of it has no default here, and what `async` says in general stands there."""
    schema = resolved(schema, root)
    if schema.get("properties") and not path.endswith((".worker", ".updates")):
        for name, inner in schema["properties"].items():
            yield from entries(f"{path}.{name}", inner, root)
    else:
        yield path, schema, None


def resolved(schema: Schema, root: Schema) -> Schema:
    """A reference's target, with the description of where it is used."""
    if "$ref" not in schema:
        return schema
    return {**root["$defs"][schema["$ref"].rpartition("/")[2]], **{k: v for k, v in schema.items() if k != "$ref"}}


def shown(default: Any) -> str:
    """A default as YAML in one line."""
    if default is None:
        return ""
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def text(schema: Schema) -> str:
    """What a value means, and what it may be."""
    said: str = schema["description"].replace("|", "\\|").replace("<", "&lt;")
    if "enum" in schema:
        said = f"{said.rstrip('.')}: {', '.join(f'`{choice}`' for choice in schema['enum'])}."
    return said


if __name__ == "__main__":
    PAGE.write_text(page())
