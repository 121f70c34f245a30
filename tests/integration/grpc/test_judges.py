"""Clients that others wrote, unmodified: Triton's (ordinary, asyncio, streaming), KServe's, grpcurl, perf_analyzer."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.testing import programs
from penstock.testing.programs import Program, ProgramMissing, perf_analyzer
from penstock.testing.server import ServerProcess

CLIENTS = Path(__file__).parent / "clients"
REQUEST = {
    "model_name": "row_sum",
    "id": "7",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "contents": {"fp32_contents": [1, 2, 3]}}],
}


@pytest.mark.parametrize(
    ("client", "module"),
    [("triton_sync", "tritonclient"), ("triton_asyncio", "tritonclient"), ("kserve_client", "kserve")],
)
def test_a_client_that_others_wrote(predictor: ServerProcess, client: str, module: str) -> None:
    run_client(client, module, predictor)


@pytest.mark.parametrize(("client", "module"), [("triton_features", "tritonclient"), ("kserve_features", "kserve")])
def test_a_client_of_a_transformer(transformer: ServerProcess, client: str, module: str) -> None:
    run_client(client, module, transformer)


def run_client(client: str, module: str, server: ServerProcess) -> None:
    # Not imported here: KServe's and Triton's modules cannot share this process.
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is missing: pip install {module}[grpc]")
    command = [sys.executable, str(CLIENTS / f"{client}.py"), server.grpc_address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def grpcurl() -> str:
    try:
        return programs.grpcurl()
    except ProgramMissing as missing:
        pytest.skip(str(missing))


def call(grpcurl: str, server: ServerProcess, *arguments: str, data: Any = None) -> subprocess.CompletedProcess[str]:
    options = ["-plaintext", *(["-d", json.dumps(data)] if data is not None else [])]
    # What is asked for, unlike options, comes behind the address.
    flags, rest = [part for part in arguments if part.startswith("-")], [part for part in arguments if not part.startswith("-")]
    command = [grpcurl, *options, *flags, server.grpc_address, *rest]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_grpcurl_finds_its_way_by_reflection(grpcurl: str, predictor: ServerProcess) -> None:
    listed = call(grpcurl, predictor, "list").stdout.split()
    assert "inference.GRPCInferenceService" in listed
    assert "grpc.health.v1.Health" in listed
    for service in listed:
        assert f"{service} is a service" in call(grpcurl, predictor, "describe", service).stdout
    done = call(grpcurl, predictor, "inference.GRPCInferenceService/ModelInfer", data=REQUEST)
    answer = json.loads(done.stdout)
    assert answer["outputs"][0]["contents"] == {"fp32Contents": [6]}, done.stderr
    assert answer["id"] == "7"
    assert '"SERVING"' in call(grpcurl, predictor, "grpc.health.v1.Health/Check").stdout


def test_grpcurl_finds_its_way_on_a_transformer_too(grpcurl: str, transformer: ServerProcess) -> None:
    listed = call(grpcurl, transformer, "list").stdout.split()
    assert "inference.GRPCInferenceService" in listed
    contents = {"distance": ("FP32", {"fp32_contents": [10]}), "seats": ("INT64", {"int64_contents": [150]})}
    inputs = [{"name": n, "datatype": kind, "shape": [1], "contents": data} for n, (kind, data) in contents.items()]
    done = call(
        grpcurl, transformer, "inference.GRPCInferenceService/ModelInfer", data={"model_name": "flights", "inputs": inputs}
    )
    assert len(json.loads(done.stdout)["outputs"][0]["contents"]["fp32Contents"]) == 1, done.stderr
    for service in ("", "flights"):
        assert '"SERVING"' in call(grpcurl, transformer, "grpc.health.v1.Health/Check", data={"service": service}).stdout


def test_grpcurl_shows_statuses_and_metadata(grpcurl: str, predictor: ServerProcess) -> None:
    method = "inference.GRPCInferenceService/ModelInfer"
    done = call(grpcurl, predictor, "-v", method, data={"model_name": "nobody", "inputs": REQUEST["inputs"]})
    assert "Code: NotFound" in done.stderr
    done = call(grpcurl, predictor, "-v", method, data=REQUEST)
    assert "penstock-bundle: row_sum@sha256:" in done.stdout
    assert "x-request-id: " in done.stdout


@pytest.fixture(scope="module")
def analyzer() -> Program:
    try:
        return perf_analyzer()
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--concurrency-range", "4"),
        ("-b", "8", "--grpc-compression-algorithm", "gzip"),
        ("--streaming", "-a", "--concurrency-range", "8"),
    ],
)
def test_perf_analyzer_drives_it(analyzer: Program, predictor: ServerProcess, arguments: tuple[str, ...]) -> None:
    short = ("-p", "500", "-r", "3", "-s", "10000")
    command = [analyzer.path, "-m", "mlp", "-i", "grpc", "-u", predictor.grpc_address, *short, *arguments]
    done = subprocess.run(
        command, env={**os.environ, **analyzer.environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    throughput = re.search(r"throughput: ([\d.e+]+) infer/sec", done.stdout)
    assert throughput, done.stdout
    assert float(throughput[1]) > 0
