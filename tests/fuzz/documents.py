"""schemathesis over the documents of `penstock serve` and of a predictor whose repository is open: a few thousand cases.

    python tests/fuzz/documents.py [--examples 100]

`--examples`: how many cases at most are made up for each operation, beside those that cover its schema. CI has fewer
(tests/integration/ways_in/test_schemathesis.py). The exit status is 1 if a check failed.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from penstock.testing import models
from penstock.testing.documents import judge_document
from penstock.testing.flights import serve_flights
from penstock.testing.programs import ProgramMissing
from penstock.testing.server import ServerProcess

EXAMPLES = 100


def serve(directory: Path) -> ServerProcess:
    return serve_flights(directory)


def predictor(directory: Path) -> ServerProcess:
    for name, model in {"mlp": models.mlp((3, 8, 2)), "labels": models.labels()}.items():
        (directory / name).mkdir()
        (directory / name / "model.onnx").write_bytes(model)
    options = ("--model_name", "m", "--model_dir", str(directory), "--profile_s", "0", "--repository_api", "true")
    return ServerProcess("penstock_predictor", "--drain_delay_s", "0", *options)


def judge(examples: int) -> bool:
    """Both servers; whether nothing was found. One model and one version stand for all; loads take too long."""
    good = True
    for made, leave_out in ((serve, "pictures|versions"), (predictor, "versions|labels|load$")):
        with tempfile.TemporaryDirectory() as servers, tempfile.TemporaryDirectory() as own, made(Path(servers)) as server:
            try:
                found = judge_document(server.url, Path(own), examples=examples, leave_out=leave_out)
            except ProgramMissing as missing:
                print(f"schemathesis: not run: {missing}")
                return True
        good = good and found.good
        print(f"schemathesis, {made.__name__}: {found.cases:,} cases, {'nothing found' if found.good else found.said[-6000:]}")
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    sys.exit(not judge(parser.parse_args().examples))
