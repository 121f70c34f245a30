// Tensors in both forms, there and back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { PenstockError, tensor } from "../src/index.js";
import { requestOf, resultOf } from "../src/inference.js";
import { jsonOf, ofJson, packed, unpacked } from "../src/tensors.js";

const TENSORS = [
  tensor(Float32Array.of(1.5, -0.25, NaN), [1, 3]),
  tensor(Float64Array.of(1e300)),
  tensor(Int8Array.of(-128, 127), [2, 1]),
  tensor(Int16Array.of(-32768)),
  tensor(Int32Array.of(-(2 ** 31))),
  tensor(BigInt64Array.of(-(2n ** 63n), 2n ** 53n + 1n)),
  tensor(Uint8Array.of(255)),
  tensor(Uint16Array.of(65535)),
  tensor(Uint32Array.of(2 ** 32 - 1)),
  tensor(BigUint64Array.of(2n ** 64n - 1n)),
  tensor([true, false, true]),
  tensor(["", "ü€😀", "\0"], [3, 1]),
  tensor(new Float32Array(0), [0, 4]),
];

test("the array's type tells the datatype", () => {
  const kinds = TENSORS.map((one) => one.datatype);
  const expected = "FP32 FP64 INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 BOOL BYTES FP32".split(" ");
  assert.deepEqual(kinds, expected);
  assert.equal(tensor(Uint16Array.of(0x3c00), [1], "FP16").datatype, "FP16");
});

test("binary there and back, from any place in a body", () => {
  for (const one of [...TENSORS, tensor(Uint16Array.of(0x3c00), [1], "FP16"), tensor([Uint8Array.of(255)])]) {
    const raw = packed(one);
    const body = new Uint8Array(raw.length + 3);
    body.set(raw, 3);
    assert.deepEqual(unpacked(one.datatype, one.shape, body.subarray(3)), one);
  }
});

test("a part of a larger array is sent, not all of it", () => {
  const part = new Float32Array([1, 2, 3, 4]).subarray(1, 3);
  assert.deepEqual([...new Float32Array(packed(tensor(part)).slice().buffer)], [2, 3]);
});

test("JSON there and back, but for what JSON loses", () => {
  for (const one of TENSORS) {
    if (one.datatype.endsWith("INT64")) continue;
    assert.deepEqual(ofJson(one.datatype, one.shape, JSON.parse(jsonOf(one, "x"))), one);
  }
  assert.equal(jsonOf(tensor(BigInt64Array.of(2n ** 53n + 1n)), "x"), "[9007199254740993]");
  assert.deepEqual(ofJson("INT64", [1, 2], [[1, -2]]).data, BigInt64Array.of(1n, -2n));
  assert.throws(() => jsonOf(tensor(Uint16Array.of(1), [1], "FP16"), "x"), { kind: "invalid_input", field: "x" });
  assert.throws(() => jsonOf(tensor([Uint8Array.of(255)]), "x"), { kind: "invalid_input", field: "x" });
});

test("what does not fit is refused before it is sent", () => {
  assert.throws(() => tensor(Float32Array.of(1, 2), [3]), PenstockError);
  assert.throws(() => tensor(Float32Array.of(1, 2), [-1, -2]), PenstockError);
  assert.throws(() => tensor(/** @type {any} */ ([1, 2])), PenstockError);
  assert.throws(() => tensor(Float32Array.of(1), [1], "INT8"), PenstockError);
  assert.throws(() => requestOf({ x: /** @type {any} */ ({ datatype: "FP8", shape: [1], data: [] }) }, {}), { field: "x" });
});

test("answers that are not of the protocol are said to be", () => {
  const broken = { kind: "upstream_unavailable" };
  assert.throws(() => unpacked("FP32", [2], new Uint8Array(7)), broken);
  assert.throws(() => unpacked("BYTES", [1], Uint8Array.of(9, 0, 0, 0, 1)), broken);
  assert.throws(() => unpacked("BYTES", [2], Uint8Array.of(0, 0, 0, 0)), broken);
  assert.throws(() => unpacked("BYTES", [0], Uint8Array.of(0)), broken);
  assert.throws(() => ofJson("FP32", [2], [1]), broken);
  assert.throws(() => resultOf({ model_name: "m" }, null), broken);
  assert.throws(() => resultOf({ model_name: "m", outputs: [{ name: "y" }] }, null), broken);
  const odd = { name: "y", datatype: "FP8", shape: [], data: [1] };
  assert.throws(() => resultOf({ model_name: "m", outputs: [odd] }, null), broken);
});
