"""What bench/pipeline.py and bench/stages.py serve and ask: a bundle of stored features and a small model, and wrk's requests.

20 standardised numbers and a string of 12 categories, a tensor of 32 columns, a 32-64-64-1 MLP.
"""

import json
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pipeline_feast import NUMERIC, PROJECT, SEGMENTS
from rig import RESULT_LINE

MODEL = "scores"
ENTITIES = 20_000


def raw_features() -> str:
    """features.yaml of the same features and encodings, all of them with the request."""
    lines = [
        line for line in features().splitlines() if not line.startswith(("record:", "sets:", "  stats:", "store:", "string}"))
    ]
    return re.sub(r"from: stats\.\w+", "from: request", "\n".join(lines)) + "\n"


def features() -> str:
    """features.yaml."""
    numbers = "\n".join(
        f"  - {{name: {name}, from: stats.{name}, type: float32, missing: {{default: 0.0}},"
        " encode: {standardise: {mean: 0.1, std: 1.1}}}"
        for name in NUMERIC
    )
    values = ", ".join(f"{name}: double" for name in NUMERIC)
    return f"""formatVersion: 1
record: {{set: stats, key: customer_id}}
sets:
  stats: {{view: stats, keys: {{customer_id: customer_id}}, maxAge: 400d}}
features:
{numbers}
  - {{name: segment, from: stats.segment, type: string, missing: {{default: other}},
     encode: {{oneHot: {{categories: [{", ".join(SEGMENTS)}], unseen: zeros}}}}}}
tensors: {{x: [{", ".join(NUMERIC)}, segment]}}
store: {{project: {PROJECT}, keySerialization: 3, views: {{stats: {{keys: {{customer_id: int64}}, values: {{{values}, segment:
string}}}}}}}}
"""


def write_bundle(directory: Path, text: str | None = None, *, version: str = "1", profile: bytes | None = None) -> str:
    """A bundle directory of a features.yaml, made by the same parts that `penstock bundle build` uses; its digest. `profile`: its
    profile.json."""
    from penstock.bundle.files import bundle_digest, digest_bytes
    from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
    from penstock.bundle.manifest_text import write_manifest
    from penstock.dataplane import TensorMetadata
    from penstock.features.compiler import compile_encoder
    from penstock.features.reading import read_spec
    from penstock.testing.models import mlp

    text = features() if text is None else text
    files = {"features.yaml": text.encode(), "encoder.onnx": compile_encoder(read_spec(text)), "model.onnx": mlp()}
    if profile is not None:
        files["profile.json"] = profile
    signature = ModelSignature(
        "model.onnx", (TensorMetadata("x", "FP32", (-1, 32)),), (TensorMetadata("y", "FP32", (-1, 1)),), True
    )
    entries = {name: digest_bytes(content) for name, content in files.items()}
    files["bundle.yaml"] = write_manifest(Manifest(MODEL, version, signature, PostprocessSpec("regression", "y"), entries))
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return bundle_digest(files["bundle.yaml"])


def write_script(directory: Path, rows: int, entities: int = ENTITIES, form: str = "rows") -> Path:
    """A script of wrk: requests of `rows` ids each, drawn out of those that the store holds, 2,000 of them in turn.

    `form` is "rows" (JSON, answered with the data), "tensor" (v2 with a binary tensor of ids, answered in kind) or "raw" (v2 with
    a binary tensor for each feature, answered in kind).
    """
    if form == "raw":
        return _write_raw_script(directory, rows)
    script = directory / f"{rows}-{form}.lua"
    script.write_text(f"""local bodies, at = {{}}, 0
math.randomseed(5)
local function id() return math.random(0, {entities - 1}) end
{_ROWS if form == "rows" else _tensor(rows)}
for i = 1, 2000 do bodies[i] = body({rows}) end
request = function() at = at % 2000 + 1; return bodies[at] end
{RESULT_LINE}""")
    return script


_ROWS = """local function body(rows)
  local parts = {}
  for j = 1, rows do parts[j] = '{"customer_id": ' .. id() .. '}' end
  local headers = {Host = "bench", ["Content-Type"] = "application/json"}
  return wrk.format("POST", nil, headers, '{"rows": [' .. table.concat(parts, ",") .. ']}')
end"""


def _tensor(rows: int) -> str:
    """Lua that makes v2 binary requests: an INT64 is its four low bytes, and four of zero."""
    header = json.dumps(
        {
            "inputs": [
                {"name": "customer_id", "datatype": "INT64", "shape": [rows], "parameters": {"binary_data_size": 8 * rows}}
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    return f"""local head = '{header}'
local function body(rows)
  local parts = {{head}}
  for j = 1, rows do
    local n = id()
    parts[j + 1] = string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536), 0, 0, 0, 0, 0)
  end
  local headers = {{Host = "bench", ["Inference-Header-Content-Length"] = tostring(#head)}}
  return wrk.format("POST", "/v2/models/{MODEL}/infer", headers, table.concat(parts))
end"""


def _write_raw_script(directory: Path, rows: int, bodies: int = 50) -> Path:
    """A script of wrk over request bodies in files: wrk's Lua cannot write floats."""
    import numpy as np

    from penstock.dataplane import Context, InferRequest
    from penstock.protocol import v2
    from penstock.tensors import Tensor

    rng = np.random.default_rng(5)
    header_length = 0
    for at in range(bodies):
        inputs = [Tensor.from_array(name, rng.normal(size=rows).astype(np.float32)) for name in NUMERIC]
        inputs.append(Tensor.from_array("segment", rng.choice(np.array(SEGMENTS, object), rows)))
        body, header_length = v2.encode_request(InferRequest(MODEL, inputs, Context("bench")))
        (directory / f"raw-{at}").write_bytes(b"%08d" % header_length + body)
    script = directory / f"{rows}-raw.lua"
    script.write_text(f"""local bodies, at = {{}}, 0
for i = 1, {bodies} do
  local file = io.open("{directory}/raw-" .. (i - 1), "rb")
  local headers = {{Host = "bench", ["Inference-Header-Content-Length"] = tostring(tonumber(file:read(8)))}}
  bodies[i] = wrk.format("POST", "/v2/models/{MODEL}/infer", headers, file:read("*a"))
  file:close()
end
request = function() at = at % {bodies} + 1; return bodies[at] end
{RESULT_LINE}""")
    return script


def fill(redis_port: int, entities: int) -> None:
    """Write the features of `entities` rows into a Redis as Feast would, without its import."""
    import asyncio

    import numpy as np

    from penstock.features.reading import read_spec
    from penstock_transformer.store.opening import open_store
    from penstock_transformer.store.port import RowWrite
    from penstock_transformer.store.settings import StoreSettings

    async def write() -> None:
        layout = read_spec(features()).store
        assert layout is not None
        # A write of a thousand rows, beside whatever else the machine does.
        store = open_store(f"redis://127.0.0.1:{redis_port}", layout, StoreSettings(timeout_s=60.0))
        await store.start()
        now = time.time()
        numbers = np.random.default_rng(3).normal(size=(entities, len(NUMERIC))).tolist()
        for start in range(0, entities, 1000):
            rows = [
                RowWrite("stats", (key,), dict(zip(NUMERIC, numbers[key], strict=True)) | {"segment": SEGMENTS[key % 12]}, now)
                for key in range(start, min(start + 1000, entities))
            ]
            await store.write(rows)
        await store.close()

    asyncio.run(write())


def two_processes(
    directory: Path, redis_port: int, ports: tuple[int, int], bundle: str = "bundle"
) -> tuple[list[str], list[str]]:
    """The options of transformer and predictor, over the bundle in `directory` and the Redis at `redis_port`. `ports`: theirs."""
    common = ["--model_name", MODEL, "--admin_port", "-1", "--grpc_port", "-1", "--host", "127.0.0.1", "--drain_delay_s", "0"]
    store = f"redis://127.0.0.1:{redis_port}"
    transformer = ["--http_port", str(ports[0]), "--predictor_host", f"127.0.0.1:{ports[1]}", "--feature_store", store]
    predictor = ["--http_port", str(ports[1]), "--model_dir", str(directory / bundle)]
    return [*common, *transformer], [*common, *predictor]


def one_process(directory: Path, database: Path, port: int) -> list[str]:
    """The arguments of `penstock` that serve the same bundle in one process over an SQLite store."""
    options = ["--model_name", MODEL, "--http_port", str(port), "--grpc_port", "-1", "--feature_store", f"sqlite:///{database}"]
    return ["serve", str(directory / "bundle"), *options]


def url(port: int) -> str:
    """Where predictions are asked for."""
    return f"http://127.0.0.1:{port}/models/{MODEL}/predict"
