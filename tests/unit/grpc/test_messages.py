"""The protocol's messages: as published, as compiled, and apart from everybody else's."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from penstock.protocol.grpc import messages
from penstock.protocol.grpc.compiling import COMPILED, PACKAGE, compiled

DIRECTORY = Path(str(files(PACKAGE)))


# What a module's service looks like: each method's streaming, and the fields below its two messages. Run in a process of its own,
# because KServe's and Triton's modules cannot be imported into one.
_DESCRIBE = """
import importlib, json, sys

def fields(message, prefix=""):
    found = {}
    for field in message.fields:
        kind = field.message_type.full_name if field.message_type is not None else ""
        found[prefix + field.name] = [field.number, field.type, field.is_repeated, kind]
    for nested in message.nested_types:
        found |= fields(nested, f"{prefix}{nested.name}.")
    return found

module = importlib.import_module(sys.argv[1])
if hasattr(module, "POOL"):
    service = module.POOL.FindServiceByName(module.SERVICE)
else:
    service = module.DESCRIPTOR.services_by_name["GRPCInferenceService"]
print(json.dumps({method.name: [[method.client_streaming, method.server_streaming], fields(method.input_type),
                                fields(method.output_type)] for method in service.methods}))
"""


def described(module: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", _DESCRIBE, module], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_compiled_file_is_what_the_source_compiles_to() -> None:
    made, shipped = (FileDescriptorSet.FromString(raw) for raw in (compiled(DIRECTORY), (DIRECTORY / COMPILED).read_bytes()))
    assert made == shipped, "inference.proto was changed: python -m penstock.protocol.grpc.compiling"


@pytest.mark.parametrize("module", ["tritonclient.grpc.service_pb2", "kserve.protocol.grpc.grpc_predict_v2_pb2"])
def test_fields_have_the_numbers_and_types_that_clients_use(module: str) -> None:
    ours, theirs = described(messages.__name__), described(module)
    if "kserve" in module:
        # Other than Triton's; what both send is understood (tests/integration/grpc/test_repository.py).
        del theirs["RepositoryModelLoad"], theirs["RepositoryModelUnload"]
    else:
        assert ours.keys() <= theirs.keys()
        # KServe's answers to them, which Triton's clients skip.
        for name in ("RepositoryModelLoad", "RepositoryModelUnload"):
            del theirs[name][2], ours[name][2]
    for name in ours.keys() & theirs.keys():
        assert ours[name][0] == theirs[name][0], name
        for mine, published in zip(ours[name][1:], theirs[name][1:], strict=True):
            assert published.items() <= mine.items(), name


# KServe's and Triton's own modules do not meet in one process either: each takes its turn with ours.
@pytest.mark.parametrize(
    "modules",
    [
        ("penstock.protocol.grpc.messages", "kserve.protocol.grpc.grpc_predict_v2_pb2"),
        ("tritonclient.grpc.service_pb2", "penstock.protocol.grpc.messages"),
    ],
)
def test_it_is_imported_beside_the_clients_modules(modules: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_shell_imports_no_grpc() -> None:
    code = "import sys, penstock.serving.app, penstock.serving.grpc; print({'grpc', 'google.protobuf'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
