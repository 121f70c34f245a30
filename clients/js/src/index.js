/**
 * Predictions from a Penstock server, in the browser and in Node, without dependencies.
 *
 * @module penstock-client
 */

export { Client } from "./client.js";
export { PenstockError } from "./errors.js";
export { Stream } from "./stream.js";
export { tensor } from "./tensors.js";

/**
 * @typedef {import("./call.js").CallOptions} CallOptions
 * @typedef {import("./client.js").ClientOptions} ClientOptions
 * @typedef {import("./client.js").ModelMetadata} ModelMetadata
 * @typedef {import("./client.js").TensorMetadata} TensorMetadata
 * @typedef {import("./errors.js").ErrorKind} ErrorKind
 * @typedef {import("./inference.js").Inference} Inference
 * @typedef {import("./inference.js").InferOptions} InferOptions
 * @typedef {import("./predicting.js").AsyncPrediction} AsyncPrediction
 * @typedef {import("./predicting.js").ImportReport} ImportReport
 * @typedef {import("./predicting.js").Prediction} Prediction
 * @typedef {import("./predicting.js").Predictions} Predictions
 * @typedef {import("./predicting.js").RecordPage} RecordPage
 * @typedef {import("./predicting.js").RefusedRow} RefusedRow
 * @typedef {import("./predicting.js").Row} Row
 * @typedef {import("./predicting.js").StoredRecord} StoredRecord
 * @typedef {import("./retrying.js").RetryPolicy} RetryPolicy
 * @typedef {import("./tensors.js").Datatype} Datatype
 * @typedef {import("./tensors.js").Tensor} Tensor
 */
