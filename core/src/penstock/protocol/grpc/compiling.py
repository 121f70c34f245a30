"""`python -m penstock.protocol.grpc.compiling`: inference.proto into inference.binpb, which the package ships.

For those who change the protocol file; needs grpcio-tools, which nothing that runs does. A test holds the two files together.
"""

import importlib
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

PACKAGE = "penstock.protocol.grpc"
SOURCE = "inference.proto"
COMPILED = "inference.binpb"


def compiled(directory: Path) -> bytes:
    """The serialized FileDescriptorSet of the protocol file in `directory`. Raises ValueError if protoc refuses it."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    # It has no types, and is missing where the package is only used.
    protoc: Any = importlib.import_module("grpc_tools.protoc")
    with tempfile.TemporaryDirectory() as made:
        target = Path(made, COMPILED)
        code = protoc.main(["protoc", f"-I{directory}", f"--descriptor_set_out={target}", SOURCE])
        if code != 0:
            raise ValueError(f"protoc ended with {code}")
        found = FileDescriptorSet.FromString(target.read_bytes())
    return bytes(found.SerializeToString(deterministic=True))


def main() -> int:
    """Write the compiled file beside its source."""
    directory = Path(str(files(PACKAGE)))
    (directory / COMPILED).write_bytes(compiled(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
