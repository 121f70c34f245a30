"""The servers of the comparison: what each is installed from, how it is started, and in which forms it takes a request.

Every server is run with the settings that its documentation gives for speed, on one core, around the same session
(peer_servers/session.py). Versions are pinned: a figure without a version says nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import peer_models

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "peer_servers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / "peers"
RUNTIME = "onnxruntime==1.31.1"
MODEL = "bench"
INFER = f"/v2/models/{MODEL}/infer"
Body = tuple[bytes, dict[str, str]]
# The body and headers of a request for a model, with so many rows, made from a seed.
Form = Callable[[str, int, int], Body]
V2 = {"json": peer_models.v2_json, "binary": peer_models.v2_binary}
PLAIN = {"json": peer_models.plain_json}


@dataclass(frozen=True)
class Start:
    """What starting a server is given: its Python, the model, ports, and a directory of its own."""

    python: Path
    model: Path
    port: int
    grpc_port: int
    directory: Path


@dataclass(frozen=True)
class Peer:
    """One server. `target`: among those that the project's figures are held against; the others are shown beside."""

    packages: tuple[str, ...]
    command: Callable[[Start], list[str]]
    path: str
    forms: dict[str, Form]
    environment: dict[str, str] = field(default_factory=dict)
    target: bool = True
    grpc: bool = False
    python: str = sys.executable
    skip: tuple[str, ...] = ()


def _script(file: str, *options: str) -> Callable[[Start], list[str]]:
    def command(start: Start) -> list[str]:
        ports = ["--port", str(start.port), "--grpc_port", str(start.grpc_port)]
        return [str(start.python), str(SCRIPTS / file), "--model", str(start.model), *ports, *options]

    return command


def _mlserver(**settings: object) -> Callable[[Start], list[str]]:
    def command(start: Start) -> list[str]:
        server = {"debug": False, "parallel_workers": 0, "host": "127.0.0.1", "metrics_endpoint": None}
        ports = {"http_port": start.port, "grpc_port": start.grpc_port, "metrics_port": 0}
        (start.directory / "settings.json").write_text(json.dumps(server | ports))
        model = {"name": MODEL, "implementation": "mlserver_runtime.Onnx"}
        (start.directory / "model-settings.json").write_text(json.dumps(model | settings))
        return [str(start.python.parent / "mlserver"), "start", str(start.directory)]

    return command


def _bentoml(start: Start) -> list[str]:
    options = ["--port", str(start.port), "--host", "127.0.0.1", "--working-dir", str(SCRIPTS)]
    return [str(start.python.parent / "bentoml"), "serve", "bentoml_service:Onnx", *options]


def _penstock(start: Start) -> list[str]:
    model = ["--model_name", MODEL, "--model_dir", str(start.model.parent), "--host", "127.0.0.1", "--drain_delay_s", "0"]
    ports = ["--http_port", str(start.port), "--grpc_port", str(start.grpc_port or -1), "--admin_port", "-1"]
    return [str(start.python), "-m", "penstock_predictor", *model, *ports]


def _fastapi(start: Start) -> list[str]:
    options = ["--model_name", MODEL, "--model_dir", str(start.model.parent), "--http_port", str(start.port)]
    return [str(start.python), str(HERE / "predictor_servers.py"), "fastapi", *options]


PEERS = {
    "penstock": Peer((), _penstock, INFER, V2, target=False, grpc=True),
    "KServe": Peer(("kserve==0.21.0", RUNTIME), _script("kserve_server.py"), INFER, V2, grpc=True),
    "MLServer": Peer(("mlserver==1.7.1", RUNTIME), _mlserver(), INFER, {"json": peer_models.v2_json}, grpc=True),
    "MLServer, batching": Peer(
        ("mlserver==1.7.1", RUNTIME),
        _mlserver(max_batch_size=64, max_batch_time=0.001),
        INFER,
        {"json": peer_models.v2_json},
        grpc=True,
        skip=("words",),
    ),
    "LitServe": Peer(("litserve==0.2.19", RUNTIME), _script("litserve_server.py"), "/predict", PLAIN),
    "LitServe, batching": Peer(("litserve==0.2.19", RUNTIME), _script("litserve_server.py", "--batching"), "/predict", PLAIN),
    "BentoML": Peer(("bentoml==1.4.39", RUNTIME), _bentoml, "/predict", PLAIN),
    "BentoML, batching": Peer(("bentoml==1.4.39", RUNTIME), _bentoml, "/predict", PLAIN, {"BENCH_BATCHING": "1"}),
    "Ray Serve": Peer(("ray[serve]==2.60.0", RUNTIME), _script("ray_server.py"), "/", PLAIN),
    "Ray Serve, batching": Peer(("ray[serve]==2.60.0", RUNTIME), _script("ray_server.py", "--batching"), "/", PLAIN),
    "FastAPI": Peer((), _fastapi, INFER, V2, target=False, skip=("words",)),
    "mosec, batching": Peer(
        ("mosec==0.9.8", "orjson", RUNTIME), _script("mosec_server.py", "--batching"), "/inference", PLAIN, target=False
    ),
    "Triton, batching": Peer(
        ("nvidia-pytriton==0.7.0", RUNTIME),
        _script("pytriton_server.py", "--batching"),
        INFER,
        V2,
        target=False,
        grpc=True,
        # Triton's Python back end brings a libpython of its own, which takes the standard library of Debian's Python.
        python="/usr/bin/python3",
    ),
}


def python_of(peer: Peer) -> Path:
    """The peer's Python: an environment of its own, made once for its packages, outside the tree."""
    if not peer.packages:
        return Path(sys.executable)
    name = peer.packages[0].replace("==", "-").replace("[", "-").replace("]", "")
    environment = CACHE / name
    python = environment / "bin" / "python"
    if (environment / "installed").exists():
        return python
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", peer.python, str(environment)], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *peer.packages], check=True)
    (environment / "installed").touch()
    return python
