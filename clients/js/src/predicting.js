/**
 * The calls of predict, of records and of asynchronous predictions.
 */

import { documentOf, pathOf } from "./call.js";
import { errorOf, PenstockError } from "./errors.js";
import { newId } from "./transport.js";

/**
 * One row of features and keys, by name.
 * @typedef {Record<string, unknown>} Row
 */

/**
 * One row's prediction; which of its members are there, the bundle's post-processing says.
 * @typedef {object} Prediction
 * @property {string} bundle
 * @property {string | null} [label]
 * @property {Record<string, number>} [scores]
 * @property {any} [value]
 * @property {Record<string, any>} [outputs]
 * @property {Record<string, any>} [data]
 * @property {string[]} [defaulted] features whose default stood in
 * @property {Record<string, number | null>} [ages_s] seconds since the stored values were true, by feature set
 */

/**
 * @typedef {object} Predictions
 * @property {string} model
 * @property {string} bundle the bundle that answered, `name@sha256:…`
 * @property {Prediction[]} predictions one a row, in the rows' order
 * @property {Record<string, any>} [record] the stored record, where it was asked for by id
 * @property {string} requestId
 */

/**
 * @typedef {object} StoredRecord
 * @property {string | number} id
 * @property {string} event_time
 * @property {Record<string, any>} values
 */

/** @typedef {{records: StoredRecord[], cursor: string | null}} RecordPage */

/**
 * What became of the rows of a CSV; of the refused ones the first hundred are shown.
 * @typedef {object} ImportReport
 * @property {number} written
 * @property {number} unchanged
 * @property {number} refused
 * @property {{row: number, line: number, field: string | null, reason: string}[]} rejected
 */

/**
 * A prediction that outlives its caller. `predictions` are there once it has succeeded; `document` is all that the server says.
 * @typedef {object} AsyncPrediction
 * @property {string} id
 * @property {"starting" | "processing" | "succeeded" | "failed" | "canceled"} state
 * @property {boolean} done
 * @property {string} bundle
 * @property {Prediction[]} predictions
 * @property {string | null} error
 * @property {Record<string, any>} document
 */

const JSON_TYPE = { "content-type": "application/json" };
// Many rows would else be answered by an id, for who asks later.
const NOW = { prefer: "wait" };

/** @param {string} model @param {Row[]} rows @param {boolean} data @returns {import("./call.js").Call<Predictions>} */
export function predict(model, rows, data) {
  const body = JSON.stringify({ rows, options: { data } });
  return { method: "POST", path: pathOf("/models/{}/predict", [model]), body, headers: { ...JSON_TYPE, ...NOW }, read: predictionsOf };
}

/**
 * A row among many that was not predicted, by its number, and why; the others were.
 * @typedef {object} RefusedRow
 * @property {number} row
 * @property {PenstockError} error
 */

/**
 * Predict for a chunk of rows whose first is row `first` of all: a prediction or a refusal for each, in their order.
 * @param {string} model @param {Row[]} rows @param {number} first @param {boolean} data
 * @returns {import("./call.js").Call<(Prediction | RefusedRow)[]>}
 */
export function predictLines(model, rows, first, data) {
  const path = pathOf("/models/{}/predict", [model], { data: data ? undefined : "false" });
  const body = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  const headers = { "content-type": "application/x-ndjson", accept: "application/x-ndjson" };
  return { method: "POST", path, body, headers, read: (answer) => linesOf(answer, rows.length, first) };
}

/**
 * @param {import("./call.js").Answer} answer @param {number} count @param {number} first
 * @returns {(Prediction | RefusedRow)[]}
 */
function linesOf(answer, count, first) {
  const lines = new TextDecoder().decode(answer.body).split("\n").filter(Boolean);
  if (lines.length !== count) {
    const last = lines.at(-1)?.slice(0, 200) ?? "nothing";
    throw new PenstockError("upstream_unavailable", `the answer holds ${lines.length} lines for ${count} rows: ${last}`);
  }
  const bundle = answer.header("penstock-bundle") ?? "";
  return lines.map((line, at) => {
    const body = new TextEncoder().encode(line);
    const document = documentOf({ ...answer, body });
    if (!("error" in document)) return { bundle, ...document };
    return { row: first + at, error: errorOf({ ...answer, status: document.status ?? 500, body }) };
  });
}

/** @param {string} model @param {BodyInit} body @param {string} type @returns {import("./call.js").Call<Predictions>} */
export function predictBody(model, body, type) {
  const headers = { "content-type": type, ...NOW };
  return { method: "POST", path: pathOf("/models/{}/predict", [model]), body, headers, read: predictionsOf };
}

/** @param {string} id @param {string | undefined} model @param {boolean} data @returns {import("./call.js").Call<Predictions>} */
export function predictRecord(id, model, data) {
  return { method: "GET", path: pathOf("/predict/{}", [id], { model, data: data ? undefined : "false" }), read: predictionsOf };
}

/** @param {string} id @param {string | undefined} model @returns {import("./call.js").Call<StoredRecord>} */
export function getRecord(id, model) {
  return { method: "GET", path: pathOf("/records/{}", [id], { model }), read: recordOf };
}

/** @param {object} document @param {string | undefined} model @returns {import("./call.js").Call<StoredRecord>} */
export function createRecord(document, model) {
  const body = JSON.stringify(document);
  const path = pathOf("/records", [], { model });
  return { method: "POST", path, body, headers: JSON_TYPE, read: recordOf, repeat: "ifRefused" };
}

/**
 * @param {string} id @param {object} document @param {string | undefined} model
 * @returns {import("./call.js").Call<StoredRecord>}
 */
export function putRecord(id, document, model) {
  const body = JSON.stringify(document);
  return { method: "PUT", path: pathOf("/records/{}", [id], { model }), body, headers: JSON_TYPE, read: recordOf };
}

/** @param {string} id @param {string | undefined} model @returns {import("./call.js").Call<void>} */
export function deleteRecord(id, model) {
  return { method: "DELETE", path: pathOf("/records/{}", [id], { model }), read: () => undefined, repeat: "ifRefused" };
}

/** @param {{cursor?: string, limit?: number, model?: string}} query @returns {import("./call.js").Call<RecordPage>} */
export function listRecords(query) {
  return { method: "GET", path: pathOf("/records", [], query), read: (answer) => /** @type {any} */ (documentOf(answer)) };
}

/** @param {BodyInit} csv @param {string | undefined} model @returns {import("./call.js").Call<ImportReport>} */
export function importRecords(csv, model) {
  const headers = { "content-type": "text/csv" };
  return { method: "POST", path: pathOf("/records:import", [], { model }), body: csv, headers, read: reportOf, also: [400] };
}

/** @param {string} model @param {Row[]} rows @param {string} [key] @returns {import("./call.js").Call<AsyncPrediction>} */
export function submit(model, rows, key) {
  const headers = { ...JSON_TYPE, "idempotency-key": key ?? newId() };
  const path = pathOf("/models/{}/predictions", [model]);
  return { method: "POST", path, body: JSON.stringify({ rows }), headers, read: asyncPredictionOf, outlives: true };
}

/**
 * How a prediction stands; the server answers at its end, or after `waitMs`.
 * @param {string} id @param {number} [waitMs] @returns {import("./call.js").Call<AsyncPrediction>}
 */
export function look(id, waitMs = 0) {
  /** @type {Record<string, string>} */
  const headers = waitMs >= 1000 ? { prefer: `wait=${Math.floor(waitMs / 1000)}` } : {};
  return { method: "GET", path: pathOf("/predictions/{}", [id]), headers, read: asyncPredictionOf };
}

/** @typedef {{model?: string, state?: AsyncPrediction["state"], after?: Date, before?: Date, cursor?: string, limit?: number}} PredictionQuery */

/** @typedef {{predictions: AsyncPrediction[], cursor: string | null}} AsyncPredictionPage */

/** @param {PredictionQuery} query @returns {import("./call.js").Call<AsyncPredictionPage>} */
export function listPredictions({ after, before, ...query }) {
  const path = pathOf("/predictions", [], { ...query, after: after?.toISOString(), before: before?.toISOString() });
  return { method: "GET", path, read: asyncPageOf };
}

/** @param {string} id @returns {import("./call.js").Call<AsyncPrediction>} */
export function cancel(id) {
  return { method: "POST", path: pathOf("/predictions/{}/cancel", [id]), read: asyncPredictionOf };
}

/** @param {import("./call.js").Answer} answer @returns {Predictions} */
export function predictionsOf(answer) {
  const document = documentOf(answer);
  const { model, bundle, predictions, record } = document;
  if (typeof model !== "string" || typeof bundle !== "string" || !Array.isArray(predictions)) {
    throw new PenstockError("upstream_unavailable", "the answer holds no model, bundle and predictions");
  }
  const found = predictions.map((prediction) => ({ bundle, ...prediction }));
  const requestId = answer.header("x-request-id") ?? "";
  return { model, bundle, predictions: found, requestId, ...(record === undefined ? {} : { record }) };
}

/** @param {import("./call.js").Answer} answer @returns {StoredRecord} */
function recordOf(answer) {
  const document = documentOf(answer);
  if (document.id === undefined || typeof document.values !== "object") {
    throw new PenstockError("upstream_unavailable", "the answer holds no record");
  }
  return /** @type {StoredRecord} */ (document);
}

/** @param {import("./call.js").Answer} answer @returns {ImportReport} */
function reportOf(answer) {
  const document = documentOf(answer);
  if (!Array.isArray(document.rejected)) throw errorOf(answer);
  const { written, unchanged, refused, rejected } = document;
  return { written, unchanged, refused, rejected };
}

/** @param {import("./call.js").Answer} answer @returns {AsyncPredictionPage} */
function asyncPageOf(answer) {
  const { predictions, cursor } = documentOf(answer);
  if (!Array.isArray(predictions)) throw new PenstockError("upstream_unavailable", "the answer holds no predictions");
  return { predictions: predictions.map(asyncPrediction), cursor: cursor ?? null };
}

/** @param {import("./call.js").Answer} answer @returns {AsyncPrediction} */
function asyncPredictionOf(answer) {
  return asyncPrediction(documentOf(answer));
}

/** @param {Record<string, any>} document @returns {AsyncPrediction} */
function asyncPrediction(document) {
  const { id, state } = document;
  if (typeof id !== "string" || typeof state !== "string") {
    throw new PenstockError("upstream_unavailable", "the answer holds no id and state of a prediction");
  }
  const result = document.result ?? {};
  const bundle = result.bundle ?? document.bundle ?? "";
  const predictions = (result.predictions ?? []).map((/** @type {object} */ prediction) => ({ bundle, ...prediction }));
  const error = document.error?.detail ?? document.error ?? null;
  const done = ["succeeded", "failed", "canceled"].includes(state);
  return { id, state: /** @type {AsyncPrediction["state"]} */ (state), done, bundle, predictions, error, document };
}
