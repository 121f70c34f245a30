// Run the cases of a file with ONNX Runtime Web under Node, in WebAssembly: node check.cjs cases.json
const fs = require("fs");
const ort = require("onnxruntime-web");

ort.env.wasm.numThreads = 1;
const ARRAYS = {
  float64: Float64Array, float32: Float32Array, int32: Int32Array, int64: BigInt64Array, bool: Uint8Array, uint8: Uint8Array,
};

function tensorOf(written) {
  if (written.type === "string") return new ort.Tensor("string", written.data, written.shape);
  const bytes = Buffer.from(written.data, "base64");
  const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  return new ort.Tensor(written.type, new ARRAYS[written.type](copy), written.shape);
}

function close(got, expected, type, tolerance) {
  if (type === "string" || type === "int64") return got === expected;
  if (Number.isNaN(expected)) return Number.isNaN(got);
  const relative = type === "float32" ? 2e-7 : 1e-14;
  return got === expected || Math.abs(got - expected) <= relative * Math.abs(expected) + tolerance;
}

async function wrongWith(entry) {
  const session = await ort.InferenceSession.create(Buffer.from(entry.model, "base64"), { executionProviders: ["wasm"], logSeverityLevel: 4 });
  try {
    const feeds = Object.fromEntries(Object.entries(entry.feeds).map(([name, written]) => [name, tensorOf(written)]));
    const got = (await session.run(feeds))[session.outputNames[0]].data;
    const expected = tensorOf(entry.expected).data;
    if (got.length !== expected.length) return `${got.length} elements, expected ${expected.length}`;
    for (let i = 0; i < got.length; i++) {
      if (!close(got[i], expected[i], entry.expected.type, entry.tolerance)) return `element ${i} is ${got[i]}, expected ${expected[i]}`;
    }
    return null;
  } finally {
    await session.release();
  }
}

async function main(path) {
  const cases = JSON.parse(fs.readFileSync(path));
  let wrong = 0;
  for (const entry of cases) {
    const said = await wrongWith(entry).catch((error) => String(error).slice(0, 200));
    if (said === null) continue;
    wrong += 1;
    console.log(`${entry.name}: ${said}`);
  }
  console.log(`onnxruntime-web: ${cases.length} cases, ${wrong} wrong`);
  process.exit(wrong ? 1 : 0);
}

main(process.argv[2]);
