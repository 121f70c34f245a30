/** @param {string} model @param {Row[]} rows @param {boolean} data @returns {import("./call.js").Call<Predictions>} */
export function predict(model: string, rows: Row[], data: boolean): import("./call.js").Call<Predictions>;
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
export function predictLines(model: string, rows: Row[], first: number, data: boolean): import("./call.js").Call<(Prediction | RefusedRow)[]>;
/** @param {string} model @param {BodyInit} body @param {string} type @returns {import("./call.js").Call<Predictions>} */
export function predictBody(model: string, body: BodyInit, type: string): import("./call.js").Call<Predictions>;
/** @param {string} id @param {string | undefined} model @param {boolean} data @returns {import("./call.js").Call<Predictions>} */
export function predictRecord(id: string, model: string | undefined, data: boolean): import("./call.js").Call<Predictions>;
/** @param {string} id @param {string | undefined} model @returns {import("./call.js").Call<StoredRecord>} */
export function getRecord(id: string, model: string | undefined): import("./call.js").Call<StoredRecord>;
/** @param {object} document @param {string | undefined} model @returns {import("./call.js").Call<StoredRecord>} */
export function createRecord(document: object, model: string | undefined): import("./call.js").Call<StoredRecord>;
/**
 * @param {string} id @param {object} document @param {string | undefined} model
 * @returns {import("./call.js").Call<StoredRecord>}
 */
export function putRecord(id: string, document: object, model: string | undefined): import("./call.js").Call<StoredRecord>;
/** @param {string} id @param {string | undefined} model @returns {import("./call.js").Call<void>} */
export function deleteRecord(id: string, model: string | undefined): import("./call.js").Call<void>;
/** @param {{cursor?: string, limit?: number, model?: string}} query @returns {import("./call.js").Call<RecordPage>} */
export function listRecords(query: {
    cursor?: string;
    limit?: number;
    model?: string;
}): import("./call.js").Call<RecordPage>;
/** @param {BodyInit} csv @param {string | undefined} model @returns {import("./call.js").Call<ImportReport>} */
export function importRecords(csv: BodyInit, model: string | undefined): import("./call.js").Call<ImportReport>;
/** @param {string} model @param {Row[]} rows @param {string} [key] @returns {import("./call.js").Call<AsyncPrediction>} */
export function submit(model: string, rows: Row[], key?: string): import("./call.js").Call<AsyncPrediction>;
/**
 * How a prediction stands; the server answers at its end, or after `waitMs`.
 * @param {string} id @param {number} [waitMs] @returns {import("./call.js").Call<AsyncPrediction>}
 */
export function look(id: string, waitMs?: number): import("./call.js").Call<AsyncPrediction>;
/** @typedef {{model?: string, state?: AsyncPrediction["state"], after?: Date, before?: Date, cursor?: string, limit?: number}} PredictionQuery */
/** @typedef {{predictions: AsyncPrediction[], cursor: string | null}} AsyncPredictionPage */
/** @param {PredictionQuery} query @returns {import("./call.js").Call<AsyncPredictionPage>} */
export function listPredictions({ after, before, ...query }: PredictionQuery): import("./call.js").Call<AsyncPredictionPage>;
/** @param {string} id @returns {import("./call.js").Call<AsyncPrediction>} */
export function cancel(id: string): import("./call.js").Call<AsyncPrediction>;
/** @param {import("./call.js").Answer} answer @returns {Predictions} */
export function predictionsOf(answer: import("./call.js").Answer): Predictions;
/**
 * A row among many that was not predicted, by its number, and why; the others were.
 */
export type RefusedRow = {
    row: number;
    error: PenstockError;
};
export type PredictionQuery = {
    model?: string;
    state?: AsyncPrediction["state"];
    after?: Date;
    before?: Date;
    cursor?: string;
    limit?: number;
};
export type AsyncPredictionPage = {
    predictions: AsyncPrediction[];
    cursor: string | null;
};
/**
 * One row of features and keys, by name.
 */
export type Row = Record<string, unknown>;
/**
 * One row's prediction; which of its members are there, the bundle's post-processing says.
 */
export type Prediction = {
    bundle: string;
    label?: string | null | undefined;
    scores?: Record<string, number> | undefined;
    value?: any;
    outputs?: Record<string, any> | undefined;
    data?: Record<string, any> | undefined;
    /**
     * features whose default stood in
     */
    defaulted?: string[] | undefined;
    /**
     * seconds since the stored values were true, by feature set
     */
    ages_s?: Record<string, number | null> | undefined;
};
export type Predictions = {
    model: string;
    /**
     * the bundle that answered, `name@sha256:…`
     */
    bundle: string;
    /**
     * one a row, in the rows' order
     */
    predictions: Prediction[];
    /**
     * the stored record, where it was asked for by id
     */
    record?: Record<string, any> | undefined;
    requestId: string;
};
export type StoredRecord = {
    id: string | number;
    event_time: string;
    values: Record<string, any>;
};
export type RecordPage = {
    records: StoredRecord[];
    cursor: string | null;
};
/**
 * What became of the rows of a CSV; of the refused ones the first hundred are shown.
 */
export type ImportReport = {
    written: number;
    unchanged: number;
    refused: number;
    rejected: {
        row: number;
        line: number;
        field: string | null;
        reason: string;
    }[];
};
/**
 * A prediction that outlives its caller. `predictions` are there once it has succeeded; `document` is all that the server says.
 */
export type AsyncPrediction = {
    id: string;
    state: "starting" | "processing" | "succeeded" | "failed" | "canceled";
    done: boolean;
    bundle: string;
    predictions: Prediction[];
    error: string | null;
    document: Record<string, any>;
};
import { PenstockError } from "./errors.js";
