/**
 * Requests and answers of the Open Inference Protocol v2: a JSON header and binary tensors behind it, or JSON alone.
 */

import { documentOf } from "./call.js";
import { PenstockError } from "./errors.js";
import { check, jsonOf, ofJson, packed, unpacked } from "./tensors.js";

/**
 * @typedef {object} InferOptions
 * @property {string[]} [outputs] names of the outputs wanted; all if not given
 * @property {string} [id]
 * @property {Record<string, string | number | boolean>} [parameters]
 * @property {boolean} [binary] false sends and asks for JSON, which has no FP16
 */

/**
 * @typedef {object} Inference
 * @property {string} model
 * @property {string | null} version
 * @property {string} bundle the bundle that answered, `name@sha256:…`
 * @property {Record<string, import("./tensors.js").Tensor>} outputs
 * @property {string | null} id
 * @property {Record<string, unknown>} parameters
 * @property {string} requestId
 */

/**
 * The bytes of a request, and the length of its JSON header; null if all of it is JSON.
 * @param {Record<string, import("./tensors.js").Tensor>} inputs
 * @param {InferOptions} options
 * @returns {{parts: Uint8Array<ArrayBuffer>[], headerLength: number | null}}
 */
export function requestOf(inputs, options) {
  const binary = options.binary ?? true;
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const tail = [];
  const items = Object.entries(inputs).map(([name, given]) => {
    check(given, name);
    const { datatype, shape } = given;
    if (!binary) return `${JSON.stringify({ name, datatype, shape }).slice(0, -1)},"data":${jsonOf(given, name)}}`;
    const raw = packed(given);
    tail.push(raw);
    return JSON.stringify({ name, datatype, shape, parameters: { binary_data_size: raw.length } });
  });
  const document = {
    ...(options.id === undefined ? {} : { id: options.id }),
    parameters: { ...options.parameters, binary_data_output: binary },
    ...(options.outputs === undefined ? {} : { outputs: options.outputs.map((name) => ({ name })) }),
  };
  const header = new TextEncoder().encode(`${JSON.stringify(document).slice(0, -1)},"inputs":[${items.join(",")}]}`);
  return { parts: [header, ...tail], headerLength: binary ? header.length : null };
}

/**
 * The result of an HTTP answer.
 * @param {import("./call.js").Answer} answer
 * @returns {Inference}
 */
export function inferenceOf(answer) {
  const length = answer.header("inference-header-content-length");
  const json = length === null ? answer : { ...answer, body: answer.body.subarray(0, Number(length)) };
  const document = documentOf(json);
  const found = resultOf(document, length === null ? null : answer.body.subarray(Number(length)));
  return { ...found, bundle: answer.header("penstock-bundle") ?? found.bundle, requestId: answer.header("x-request-id") ?? "" };
}

/**
 * The result of an answer's JSON and the tensors behind it.
 * @param {Record<string, any>} document
 * @param {Uint8Array | null} tail
 * @returns {Inference}
 */
export function resultOf(document, tail) {
  if (typeof document.model_name !== "string" || !Array.isArray(document.outputs)) {
    throw new PenstockError("upstream_unavailable", "the answer holds no model_name and outputs");
  }
  /** @type {Record<string, import("./tensors.js").Tensor>} */
  const outputs = {};
  let at = 0;
  for (const { name, datatype, shape, data, parameters } of document.outputs) {
    if (!Array.isArray(shape)) throw new PenstockError("upstream_unavailable", "the answer's outputs have no shape");
    const size = parameters?.binary_data_size;
    if (size === undefined || tail === null) {
      outputs[name] = ofJson(datatype, shape, data);
    } else {
      outputs[name] = unpacked(datatype, shape, tail.subarray(at, at + size));
      at += size;
    }
  }
  const parameters = document.parameters ?? {};
  return {
    model: document.model_name,
    version: document.model_version ?? null,
    bundle: typeof parameters.bundle === "string" ? parameters.bundle : "",
    outputs,
    id: document.id ?? null,
    parameters,
    requestId: "",
  };
}
