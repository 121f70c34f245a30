"""Chart and manifests against the programs: each container's arguments and variables are read by its own program's settings.

Not only known: they are parsed as the program would, so a value that it refuses is found here.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.settings import parse, variables
from penstock_predictor.settings import PredictorSettings
from penstock_transformer.feedback.sink.settings import LogSinkSettings
from penstock_transformer.feedback.trigger.settings import TriggerSettings
from penstock_transformer.relay.settings import RelaySettings
from penstock_transformer.settings import TransformerSettings
from penstock_transformer.sink.settings import SinkSettings
from penstock_transformer.updates.settings import UpdatesSettings
from penstock_transformer.worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = sorted((ROOT / "manifests").glob("*.yaml"))
PROGRAMS: dict[tuple[str, str], tuple[type[Any], str]] = {
    ("predictor", ""): (PredictorSettings, "PENSTOCK_PREDICTOR"),
    ("predictor-gpu", ""): (PredictorSettings, "PENSTOCK_PREDICTOR"),
    ("transformer", ""): (TransformerSettings, "PENSTOCK_TRANSFORMER"),
    ("transformer", "worker"): (WorkerSettings, "PENSTOCK_TRANSFORMER"),
    ("transformer", "relay"): (RelaySettings, "PENSTOCK_TRANSFORMER"),
    ("transformer", "sink"): (SinkSettings, "PENSTOCK_TRANSFORMER"),
    ("transformer", "log-sink"): (LogSinkSettings, "PENSTOCK_TRANSFORMER"),
    ("transformer", "retrain-trigger"): (TriggerSettings, "PENSTOCK_TRANSFORMER"),
    ("transformer", "updates"): (UpdatesSettings, "PENSTOCK_TRANSFORMER"),
}
# What else our programs read, by names that are not theirs.
FOREIGN = {"AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
# What KServe's controller adds to a transformer's arguments.
INJECTED = ["--model_name", "flights", "--predictor_host", "flights-predictor.default", "--http_port", "8080"]
URLS = {
    "DATABASE": "postgresql://me:secret@db/predictions",
    "FEATURE_STORE": "redis://redis:6379",
    "WEBHOOK_SECRET": f"whsec_{'A' * 32}",
}

Document = dict[str, Any]
Render = Callable[..., Sequence[Document]]


def containers(node: Any) -> Iterator[Document]:
    """Whatever runs an image of ours, wherever it stands in a document."""
    if isinstance(node, dict):
        if "image" in node and "/" in str(node["image"]) and isinstance(node.get("name"), str):
            yield node
        elif "modelFormat" in node and str(node.get("runtime")).startswith("penstock"):
            # KServe adds these to the runtime's own.
            yield {"image": "penstock/predictor:1", "args": ["--model_name=x", *node.get("args", [])], "env": node.get("env", [])}
        for value in node.values():
            yield from containers(value)
    elif isinstance(node, list):
        for value in node:
            yield from containers(value)


def check(container: Document, folder: Path) -> None:
    """Parse a container's options and variables as its program does; a secret's text is made up."""
    image = container["image"].rpartition("/")[2].partition(":")[0]
    arguments = [re.sub(r"\{\{\.Name\}\}", "flights", argument) for argument in container.get("args", [])]
    program = arguments.pop(0) if arguments and not arguments[0].startswith("-") else ""
    if image == "operator":
        check_operator(container)
        return
    settings, prefix = PROGRAMS[image, program]
    known = set(variables(settings, prefix))
    environment = {}
    for variable in container.get("env", []):
        name = variable["name"]
        assert name in known | FOREIGN, f"{name} is no setting of {image} {program}"
        value = variable.get("value")
        if "valueFrom" in variable:
            value = URLS.get(name.removeprefix(f"{prefix}_"), "made-up")
        elif name.endswith("_FILE") and name.removesuffix("_FILE") in known:
            (folder / name).write_text(URLS.get(name.removeprefix(f"{prefix}_").removesuffix("_FILE"), "made-up"))
            value = str(folder / name)
        assert isinstance(value, str), f"{name}: a variable is text"
        environment[name] = value
    if image == "transformer" and not program:
        arguments += INJECTED
    parse(settings, arguments, environment, prefix)


def check_operator(container: Document) -> None:
    try:
        settings = import_module("penstock_operator.settings")
    except ModuleNotFoundError:
        return
    known = set(variables(settings.OperatorSettings, "PENSTOCK_OPERATOR"))
    environment = {}
    for variable in container.get("env", []):
        assert variable["name"] in known, f"{variable['name']} is no setting of the operator"
        environment[variable["name"]] = variable.get("value", "made-up")
    parse(settings.OperatorSettings, container.get("args", []), environment, "PENSTOCK_OPERATOR")


def test_the_chart_is_understood(rendered: Sequence[Document], tmp_path: Path) -> None:
    found = [container for document in rendered for container in containers(document)]
    assert found
    for container in found:
        if "command" not in container:
            check(container, tmp_path)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_understood(path: Path, tmp_path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        for container in containers(document):
            check(container, tmp_path)


def test_a_variable_that_nobody_reads_is_found(tmp_path: Path) -> None:
    container = {
        "image": "penstock/transformer:1",
        "name": "x",
        "env": [{"name": "PENSTOCK_TRANSFORMER_FEATURE_STOER", "value": "x"}],
    }
    with pytest.raises(AssertionError, match="FEATURE_STOER"):
        check(container, tmp_path)


def test_a_value_that_its_program_refuses_is_found(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        check({"image": "penstock/predictor:1", "name": "x", "args": ["--model_name=x", "--device=abacus"]}, tmp_path)


def test_an_option_of_another_program_is_found(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        check({"image": "penstock/transformer:1", "name": "x", "args": ["relay", "--sink_records=5"]}, tmp_path)


def test_no_secret_is_written_out(render: Render) -> None:
    """A setting that is secret comes from a file or a secret's key, in every part."""
    secret = re.compile(r"_(DATABASE|FEATURE_STORE|PASSWORD|WEBHOOK_SECRET|SECRET_ACCESS_KEY|ACCESS_KEY_ID|USERNAME)$")
    seen = 0
    for document in render(None, "everything"):
        for container in containers(document):
            for variable in container.get("env", []):
                if secret.search(variable["name"]):
                    assert "value" not in variable, variable["name"]
                    seen += 1
    assert seen >= 4
