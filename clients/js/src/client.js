/**
 * The client: each verb builds a call, and `transport.run` sends it.
 */

import { documentOf, pathOf } from "./call.js";
import { PenstockError } from "./errors.js";
import { inferenceOf, requestOf } from "./inference.js";
import { CALL, checkOptions, INFER } from "./options.js";
import * as calls from "./predicting.js";
import { Stream } from "./stream.js";
import { checkedUrl, pause, run } from "./transport.js";

const CLIENT = ["timeoutMs", "retry", "headers", "token", "fetch", "WebSocket"];
const RETRY = ["attempts", "baseMs", "maxWaitMs"];
const MANY = ["rowsPerRequest", "requestsAtOnce", "data"];
const FIRST_LOOK_MS = 50;
const LONGEST_LOOK_MS = 2000;
const LONGEST_KEPT_MS = 20000;

/**
 * @typedef {import("./call.js").CallOptions} CallOptions
 * @typedef {import("./predicting.js").Row} Row
 */

/**
 * `timeoutMs` bounds each call with its retries and is sent to the server as its deadline; null for no limit. `headers` go with
 * every request, `token` as `Authorization: Bearer`. `fetch` and `WebSocket` stand in for the platform's own: Node before 22 has
 * no WebSocket, the package `ws` has one.
 * @typedef {object} ClientOptions
 * @property {number | null} [timeoutMs]
 * @property {import("./retrying.js").RetryPolicy} [retry]
 * @property {Record<string, string>} [headers]
 * @property {string} [token]
 * @property {typeof globalThis.fetch} [fetch]
 * @property {any} [WebSocket]
 */

/**
 * @typedef {object} TensorMetadata
 * @property {string} name
 * @property {import("./tensors.js").Datatype} datatype
 * @property {number[]} shape
 */

/**
 * @typedef {object} ModelMetadata
 * @property {string} name
 * @property {string[]} versions
 * @property {string} platform
 * @property {TensorMetadata[]} inputs
 * @property {TensorMetadata[]} outputs
 * @property {string} [bundle]
 */

/**
 * A Penstock server. Every method takes CallOptions beside its own, and rejects with PenstockError; an option that it does not
 * know is a TypeError.
 */
export class Client {
  /**
   * @param {string} [url] in a browser the page's own origin by default
   * @param {ClientOptions} [options]
   */
  constructor(url = globalThis.location?.origin ?? "http://127.0.0.1:8080", options = {}) {
    checkOptions(options, CLIENT);
    checkOptions(options.retry ?? {}, RETRY, "options.retry");
    const headers = Object.fromEntries(Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
    if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`;
    /** @private @type {import("./transport.js").Settings} */
    this._settings = {
      url: checkedUrl(url),
      timeoutMs: options.timeoutMs === undefined ? 30_000 : options.timeoutMs,
      retry: options.retry ?? {},
      headers,
      fetch: options.fetch ?? ((...given) => globalThis.fetch(...given)),
    };
    /** @private */
    this._WebSocket = options.WebSocket;
  }

  /**
   * Predict for rows of features and keys, by name. `data` false leaves the features out of the answer.
   * @param {string} model @param {Row[]} rows @param {CallOptions & {data?: boolean}} [options]
   */
  predict(model, rows, options = {}) {
    return this._run(() => calls.predict(model, rows, options.data ?? true), options, ["data"]);
  }

  /**
   * Predict for a body as it is, such as a file that a user chose: `text/csv`, `image/png`, `image/jpeg`.
   * @param {string} model @param {Blob | ArrayBuffer | Uint8Array<ArrayBuffer> | string} body @param {string} [contentType]
   * @param {CallOptions} [options]
   */
  predictBody(model, body, contentType, options = {}) {
    const type = contentType ?? (body instanceof Blob ? body.type : "application/octet-stream");
    return this._run(() => calls.predictBody(model, body, type), options);
  }

  /**
   * Predict for a stored record; `model` is needed where several are served.
   * @param {string} id @param {CallOptions & {model?: string, data?: boolean}} [options]
   */
  predictRecord(id, options = {}) {
    return this._run(() => calls.predictRecord(id, options.model, options.data ?? true), options, ["model", "data"]);
  }

  /**
   * Predictions of any number of rows, in their order and in bounded memory, as requests of `rowsPerRequest` rows. A wrong row is
   * told, as `{row, error}`, and spoils no other.
   * @param {string} model @param {Iterable<Row> | AsyncIterable<Row>} rows
   * @param {CallOptions & {rowsPerRequest?: number, requestsAtOnce?: number, data?: boolean}} [options] `timeoutMs` is for each
   *   request of them
   * @returns {AsyncGenerator<import("./predicting.js").Prediction | import("./predicting.js").RefusedRow, void, void>}
   */
  async *predictMany(model, rows, options = {}) {
    checkOptions(options, [...CALL, ...MANY]);
    const { rowsPerRequest = 500, requestsAtOnce = 4, data = false, ...shared } = options;
    /** @type {Promise<(import("./predicting.js").Prediction | import("./predicting.js").RefusedRow)[]>[]} */
    const waiting = [];
    let first = 0;
    const ending = new AbortController();
    const leave = () => ending.abort(options.signal?.reason);
    options.signal?.addEventListener("abort", leave);
    const ask = (/** @type {Row[]} */ chunk) => {
      const at = first;
      first += chunk.length;
      const asked = this._run(() => calls.predictLines(model, chunk, at, data), { ...shared, signal: ending.signal });
      asked.catch(() => undefined); // told when its turn comes
      waiting.push(asked);
    };
    try {
      /** @type {Row[]} */
      let chunk = [];
      for await (const row of rows) {
        chunk.push(row);
        if (chunk.length < rowsPerRequest) continue;
        ask(chunk);
        chunk = [];
        if (waiting.length >= requestsAtOnce) yield* (await waiting.shift()) ?? [];
      }
      if (chunk.length) ask(chunk);
      while (waiting.length) yield* (await waiting.shift()) ?? [];
    } finally {
      ending.abort();
      options.signal?.removeEventListener("abort", leave);
    }
  }

  /**
   * Tensors in, tensors out (Open Inference Protocol v2).
   * @param {string} model @param {Record<string, import("./tensors.js").Tensor>} inputs
   * @param {CallOptions & import("./inference.js").InferOptions & {version?: string}} [options]
   */
  infer(model, inputs, options = {}) {
    return this._run(() => {
      const { parts, headerLength } = requestOf(inputs, options);
      /** @type {Record<string, string>} */
      const headers =
        headerLength === null
          ? { "content-type": "application/json" }
          : { "content-type": "application/octet-stream", "inference-header-content-length": String(headerLength) };
      const path = `${modelPath(model, options.version)}/infer`;
      return { method: "POST", path, body: new Blob(parts), headers, read: inferenceOf };
    }, options, ["version", ...INFER]);
  }

  /**
   * A stream of inference requests over one WebSocket.
   * @param {string} model @param {{version?: string}} [options]
   */
  stream(model, options = {}) {
    checkOptions(options, ["version"]);
    return new Stream(this._settings, modelPath(model, options.version), this._WebSocket ?? globalThis.WebSocket);
  }

  /**
   * The model's inputs and outputs, its versions and its bundle.
   * @param {string} model @param {CallOptions & {version?: string}} [options] @returns {Promise<ModelMetadata>}
   */
  metadata(model, options = {}) {
    const read = (/** @type {import("./call.js").Answer} */ answer) => {
      const document = documentOf(answer);
      if (!Array.isArray(document.inputs)) {
        throw new PenstockError("upstream_unavailable", "the answer is no metadata of a model");
      }
      return /** @type {ModelMetadata} */ (document);
    };
    return this._run(() => ({ method: "GET", path: modelPath(model, options.version), read }), options, ["version"]);
  }

  /**
   * Names of the models that are served.
   * @param {CallOptions} [options] @returns {Promise<string[]>}
   */
  models(options = {}) {
    return this._run(() => ({ method: "GET", path: "/v1/models", read: (answer) => documentOf(answer).models ?? [] }), options);
  }

  /**
   * A stored record.
   * @param {string} id @param {CallOptions & {model?: string}} [options]
   */
  record(id, options = {}) {
    return this._run(() => calls.getRecord(id, options.model), options, ["model"]);
  }

  /**
   * Store a new record; the server makes an id if none is given. Fails with kind `conflict` if the id is taken.
   * @param {Row} values @param {CallOptions & {model?: string, id?: string, eventTime?: Date}} [options]
   */
  createRecord(values, options = {}) {
    const { id, eventTime } = options;
    const own = ["model", "id", "eventTime"];
    return this._run(() => calls.createRecord({ id, event_time: eventTime, values }, options.model), options, own);
  }

  /**
   * Store a record whole. Fails with kind `conflict` if what the store holds is newer than `eventTime`.
   * @param {string} id @param {Row} values @param {CallOptions & {model?: string, eventTime?: Date}} [options]
   */
  putRecord(id, values, options = {}) {
    const own = ["model", "eventTime"];
    return this._run(() => calls.putRecord(id, { event_time: options.eventTime, values }, options.model), options, own);
  }

  /**
   * Remove a record.
   * @param {string} id @param {CallOptions & {model?: string}} [options]
   */
  deleteRecord(id, options = {}) {
    return this._run(() => calls.deleteRecord(id, options.model), options, ["model"]);
  }

  /**
   * A page of the records.
   * @param {CallOptions & {cursor?: string, limit?: number, model?: string}} [options]
   */
  records(options = {}) {
    const { cursor, limit, model } = options;
    return this._run(() => calls.listRecords({ cursor, limit, model }), options, ["cursor", "limit", "model"]);
  }

  /**
   * Store the rows of a CSV; what cannot be stored is told in the report, row by row.
   * @param {Blob | string} csv @param {CallOptions & {model?: string}} [options]
   */
  importRecords(csv, options = {}) {
    return this._run(() => calls.importRecords(csv, options.model), options, ["model"]);
  }

  /**
   * Hand in rows to be predicted later; the id in the answer is good on every transport and after a restart.
   * @param {string} model @param {Row[]} rows @param {CallOptions & {idempotencyKey?: string}} [options]
   */
  submit(model, rows, options = {}) {
    return this._run(() => calls.submit(model, rows, options.idempotencyKey), options, ["idempotencyKey"]);
  }

  /**
   * How an asynchronous prediction stands.
   * @param {string} id @param {CallOptions} [options]
   */
  prediction(id, options = {}) {
    return this._run(() => calls.look(id), options);
  }

  /**
   * A page of your asynchronous predictions, newest first and without their results; times are when they were handed in.
   * @param {CallOptions & import("./predicting.js").PredictionQuery} [options]
   */
  predictions(options = {}) {
    const { model, state, after, before, cursor, limit } = options;
    const own = ["model", "state", "after", "before", "cursor", "limit"];
    return this._run(() => calls.listPredictions({ model, state, after, before, cursor, limit }), options, own);
  }

  /**
   * Cancel an asynchronous prediction that has not ended.
   * @param {string} id @param {CallOptions} [options]
   */
  cancel(id, options = {}) {
    return this._run(() => calls.cancel(id), options);
  }

  /**
   * Wait until an asynchronous prediction has ended; fails with kind `deadline_exceeded` after `timeoutMs`, and it goes on.
   * @param {string} id @param {{timeoutMs?: number, signal?: AbortSignal}} [options]
   */
  async wait(id, options = {}) {
    checkOptions(options, ["timeoutMs", "signal"]);
    const { timeoutMs = Infinity, signal } = options;
    const deadline = performance.now() + timeoutMs;
    for (let look = FIRST_LOOK_MS; ; look = Math.min(LONGEST_LOOK_MS, 2 * look)) {
      // The server keeps each look back until the end, as long as the call may take; the pauses are for one that does not.
      const own = this._settings.timeoutMs ?? Infinity;
      const kept = Math.min(LONGEST_KEPT_MS, own / 2, Math.max(0, deadline - performance.now()));
      const found = await this._run(() => calls.look(id, kept), signal ? { signal } : {});
      if (found.done) return found;
      const left = deadline - performance.now();
      if (left <= 0) throw new PenstockError("deadline_exceeded", "the prediction has not ended in the time given");
      await pause(Math.min(look, left), signal);
    }
  }

  /**
   * @private
   * @template T
   * @param {() => import("./call.js").Call<T>} build
   * @param {CallOptions} options
   * @param {string[]} [own] names of the options that this verb has beside those of every call
   * @returns {Promise<T>}
   */
  async _run(build, options, own = []) {
    checkOptions(options, [...CALL, ...own]);
    return run(this._settings, build(), options);
  }
}

/** @param {string} model @param {string} [version] */
function modelPath(model, version) {
  return version === undefined ? pathOf("/v2/models/{}", [model]) : pathOf("/v2/models/{}/versions/{}", [model, version]);
}
