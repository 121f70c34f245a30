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
export function requestOf(inputs: Record<string, import("./tensors.js").Tensor>, options: InferOptions): {
    parts: Uint8Array<ArrayBuffer>[];
    headerLength: number | null;
};
/**
 * The result of an HTTP answer.
 * @param {import("./call.js").Answer} answer
 * @returns {Inference}
 */
export function inferenceOf(answer: import("./call.js").Answer): Inference;
/**
 * The result of an answer's JSON and the tensors behind it.
 * @param {Record<string, any>} document
 * @param {Uint8Array | null} tail
 * @returns {Inference}
 */
export function resultOf(document: Record<string, any>, tail: Uint8Array | null): Inference;
export type InferOptions = {
    /**
     * names of the outputs wanted; all if not given
     */
    outputs?: string[] | undefined;
    id?: string | undefined;
    parameters?: Record<string, string | number | boolean> | undefined;
    /**
     * false sends and asks for JSON, which has no FP16
     */
    binary?: boolean | undefined;
};
export type Inference = {
    model: string;
    version: string | null;
    /**
     * the bundle that answered, `name@sha256:…`
     */
    bundle: string;
    outputs: Record<string, import("./tensors.js").Tensor>;
    id: string | null;
    parameters: Record<string, unknown>;
    requestId: string;
};
