/**
 * Tensors of the Open Inference Protocol as typed arrays, in binary form and in JSON.
 *
 * FP16 travels as the bits of its numbers in a Uint16Array, BOOL as zeros and ones in a Uint8Array, BYTES as an array of strings
 * (of Uint8Array where they are not UTF-8), 64-bit integers in BigInt64Array and BigUint64Array. Machines that are not
 * little-endian are not supported.
 */

import { PenstockError } from "./errors.js";

/**
 * @typedef {Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array
 *   | Uint32Array | BigUint64Array} Numbers
 * @typedef {"BOOL" | "UINT8" | "UINT16" | "UINT32" | "UINT64" | "INT8" | "INT16" | "INT32" | "INT64" | "FP16" | "FP32" | "FP64"
 *   | "BYTES"} Datatype
 * @typedef {(string | Uint8Array)[]} Texts
 */

/**
 * @typedef {object} Tensor
 * @property {Datatype} datatype
 * @property {number[]} shape
 * @property {Numbers | Texts} data row-major
 */

/** @type {Record<Exclude<Datatype, "BYTES">, any>} */
const ARRAYS = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
};
/** @type {[any, Datatype][]} */
const DATATYPE_OF = [
  [Float32Array, "FP32"],
  [Float64Array, "FP64"],
  [Int8Array, "INT8"],
  [Int16Array, "INT16"],
  [Int32Array, "INT32"],
  [BigInt64Array, "INT64"],
  [Uint8Array, "UINT8"],
  [Uint16Array, "UINT16"],
  [Uint32Array, "UINT32"],
  [BigUint64Array, "UINT64"],
];
const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A tensor of data. `shape` is one axis if it is not given; `datatype` follows from the array's type (arrays of strings are
 * BYTES, arrays of booleans BOOL), but for FP16 in a Uint16Array and BOOL in a Uint8Array, which say so.
 * @param {Numbers | Texts | boolean[]} data
 * @param {number[]} [shape]
 * @param {Datatype} [datatype]
 * @returns {Tensor}
 */
export function tensor(data, shape, datatype) {
  /** @type {Numbers | Texts} */
  let values;
  let kind = datatype;
  if (Array.isArray(data)) {
    if (data.length && data.every((value) => typeof value === "boolean")) {
      values = Uint8Array.from(data, Number);
      kind ??= "BOOL";
    } else if (data.every((value) => typeof value === "string" || value instanceof Uint8Array)) {
      values = /** @type {Texts} */ (data);
      kind ??= "BYTES";
    } else {
      throw new PenstockError("invalid_input", "expected a typed array, or an array of strings or booleans");
    }
  } else {
    values = data;
    kind ??= DATATYPE_OF.find(([type]) => data instanceof type)?.[1];
  }
  const made = { datatype: /** @type {Datatype} */ (kind), shape: shape ?? [values.length], data: values };
  check(made, "tensor");
  return made;
}

/**
 * Throws invalid_input if a tensor's data does not fit its datatype and shape.
 * @param {Tensor} given
 * @param {string} name
 */
export function check(given, name) {
  const { datatype, shape, data } = given;
  const type = datatype === "BYTES" ? Array : ARRAYS[datatype];
  if (type === undefined) throw new PenstockError("invalid_input", `unknown datatype ${String(datatype)}`, { field: name });
  if (!(data instanceof type)) {
    throw new PenstockError("invalid_input", `expected ${type.name} for ${datatype}`, { field: name });
  }
  const count = shape.reduce((product, size) => product * size, 1);
  if (!shape.every((size) => Number.isInteger(size) && size >= 0) || count !== data.length) {
    const message = `expected ${count} elements for shape [${shape}], got ${data.length}`;
    throw new PenstockError("invalid_input", message, { field: name });
  }
}

/**
 * A tensor's binary form: little-endian, row-major; each of BYTES behind a u32 length.
 * @param {Tensor} given
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function packed(given) {
  const { data } = given;
  if (!Array.isArray(data)) return new Uint8Array(/** @type {ArrayBuffer} */ (data.buffer), data.byteOffset, data.byteLength);
  const parts = data.map((text) => (typeof text === "string" ? encoder.encode(text) : text));
  const whole = new Uint8Array(parts.reduce((total, part) => total + 4 + part.length, 0));
  const view = new DataView(whole.buffer);
  let at = 0;
  for (const part of parts) {
    view.setUint32(at, part.length, true);
    whole.set(part, at + 4);
    at += 4 + part.length;
  }
  return whole;
}

/**
 * A tensor out of its binary form. Throws upstream_unavailable if the bytes are not those of the shape.
 * @param {Datatype} datatype
 * @param {number[]} shape
 * @param {Uint8Array} bytes
 * @returns {Tensor}
 */
export function unpacked(datatype, shape, bytes) {
  const count = shape.reduce((product, size) => product * size, 1);
  if (datatype === "BYTES") return { datatype, shape, data: unpackedTexts(bytes, count) };
  const type = ARRAYS[datatype];
  if (type === undefined || bytes.length !== count * type.BYTES_PER_ELEMENT) {
    throw malformed(`${bytes.length} bytes of ${datatype} [${shape}]`);
  }
  // A copy: typed arrays begin at a multiple of their element's size, tensors in a body anywhere.
  return { datatype, shape, data: new type(bytes.slice().buffer) };
}

/**
 * @param {Uint8Array} bytes
 * @param {number} count
 * @returns {Texts}
 */
function unpackedTexts(bytes, count) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {Texts} */
  const texts = [];
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    if (at + 4 > bytes.length) throw malformed("BYTES that end too early");
    const end = at + 4 + view.getUint32(at, true);
    if (end > bytes.length) throw malformed("BYTES that end too early");
    texts.push(text(bytes.subarray(at + 4, end)));
    at = end;
  }
  if (at !== bytes.length) throw malformed("BYTES with more behind them");
  return texts;
}

/** @param {Uint8Array} bytes */
function text(bytes) {
  try {
    return strict.decode(bytes);
  } catch {
    return bytes.slice();
  }
}

/**
 * A tensor's data as JSON text, flat; NaN and infinities are null, integers keep all their digits.
 * @param {Tensor} given
 * @param {string} name
 */
export function jsonOf(given, name) {
  const { datatype, data } = given;
  if (datatype === "FP16") throw new PenstockError("invalid_input", "FP16 has no JSON form; leave binary on", { field: name });
  if (datatype === "BOOL") return `[${Array.from(/** @type {Uint8Array} */ (data), (value) => value !== 0).join(",")}]`;
  if (!Array.isArray(data)) {
    if (!(data instanceof Float32Array || data instanceof Float64Array)) return `[${data.join(",")}]`;
    return `[${Array.from(data, (value) => (Number.isFinite(value) ? String(value) : "null")).join(",")}]`;
  }
  const texts = data.map((value) => {
    const found = typeof value === "string" ? value : text(value);
    if (typeof found !== "string") {
      throw new PenstockError("invalid_input", "expected UTF-8 text; leave binary on", { field: name });
    }
    return found;
  });
  return JSON.stringify(texts);
}

/**
 * A tensor out of the JSON of an answer. 64-bit integers above 2^53 have lost digits there: ask for binary.
 * @param {Datatype} datatype
 * @param {number[]} shape
 * @param {any} data flat or nested
 * @returns {Tensor}
 */
export function ofJson(datatype, shape, data) {
  const flat = Array.isArray(data) ? data.flat(Infinity) : [];
  const count = shape.reduce((product, size) => product * size, 1);
  if (flat.length !== count) throw malformed(`${flat.length} elements of ${datatype} [${shape}]`);
  if (datatype === "BYTES") return { datatype, shape, data: flat.map(String) };
  const type = ARRAYS[datatype];
  if (type === undefined) throw malformed(`datatype ${String(datatype)}`);
  if (datatype === "INT64" || datatype === "UINT64") return { datatype, shape, data: type.from(flat, BigInt) };
  return { datatype, shape, data: type.from(flat, (/** @type {any} */ value) => (value === null ? NaN : Number(value))) };
}

/** @param {string} what */
function malformed(what) {
  return new PenstockError("upstream_unavailable", `the answer is not one of the protocol: ${what}`);
}
