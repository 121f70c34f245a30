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
    constructor(url?: string, options?: ClientOptions);
    /** @private @type {import("./transport.js").Settings} */
    private _settings;
    /** @private */
    private _WebSocket;
    /**
     * Predict for rows of features and keys, by name. `data` false leaves the features out of the answer.
     * @param {string} model @param {Row[]} rows @param {CallOptions & {data?: boolean}} [options]
     */
    predict(model: string, rows: Row[], options?: CallOptions & {
        data?: boolean;
    }): Promise<calls.Predictions>;
    /**
     * Predict for a body as it is, such as a file that a user chose: `text/csv`, `image/png`, `image/jpeg`.
     * @param {string} model @param {Blob | ArrayBuffer | Uint8Array<ArrayBuffer> | string} body @param {string} [contentType]
     * @param {CallOptions} [options]
     */
    predictBody(model: string, body: Blob | ArrayBuffer | Uint8Array<ArrayBuffer> | string, contentType?: string, options?: CallOptions): Promise<calls.Predictions>;
    /**
     * Predict for a stored record; `model` is needed where several are served.
     * @param {string} id @param {CallOptions & {model?: string, data?: boolean}} [options]
     */
    predictRecord(id: string, options?: CallOptions & {
        model?: string;
        data?: boolean;
    }): Promise<calls.Predictions>;
    /**
     * Predictions of any number of rows, in their order and in bounded memory, as requests of `rowsPerRequest` rows. A wrong row is
     * told, as `{row, error}`, and spoils no other.
     * @param {string} model @param {Iterable<Row> | AsyncIterable<Row>} rows
     * @param {CallOptions & {rowsPerRequest?: number, requestsAtOnce?: number, data?: boolean}} [options] `timeoutMs` is for each
     *   request of them
     * @returns {AsyncGenerator<import("./predicting.js").Prediction | import("./predicting.js").RefusedRow, void, void>}
     */
    predictMany(model: string, rows: Iterable<Row> | AsyncIterable<Row>, options?: CallOptions & {
        rowsPerRequest?: number;
        requestsAtOnce?: number;
        data?: boolean;
    }): AsyncGenerator<import("./predicting.js").Prediction | import("./predicting.js").RefusedRow, void, void>;
    /**
     * Tensors in, tensors out (Open Inference Protocol v2).
     * @param {string} model @param {Record<string, import("./tensors.js").Tensor>} inputs
     * @param {CallOptions & import("./inference.js").InferOptions & {version?: string}} [options]
     */
    infer(model: string, inputs: Record<string, import("./tensors.js").Tensor>, options?: CallOptions & import("./inference.js").InferOptions & {
        version?: string;
    }): Promise<import("./inference.js").Inference>;
    /**
     * A stream of inference requests over one WebSocket.
     * @param {string} model @param {{version?: string}} [options]
     */
    stream(model: string, options?: {
        version?: string;
    }): Stream;
    /**
     * The model's inputs and outputs, its versions and its bundle.
     * @param {string} model @param {CallOptions & {version?: string}} [options] @returns {Promise<ModelMetadata>}
     */
    metadata(model: string, options?: CallOptions & {
        version?: string;
    }): Promise<ModelMetadata>;
    /**
     * Names of the models that are served.
     * @param {CallOptions} [options] @returns {Promise<string[]>}
     */
    models(options?: CallOptions): Promise<string[]>;
    /**
     * A stored record.
     * @param {string} id @param {CallOptions & {model?: string}} [options]
     */
    record(id: string, options?: CallOptions & {
        model?: string;
    }): Promise<calls.StoredRecord>;
    /**
     * Store a new record; the server makes an id if none is given. Fails with kind `conflict` if the id is taken.
     * @param {Row} values @param {CallOptions & {model?: string, id?: string, eventTime?: Date}} [options]
     */
    createRecord(values: Row, options?: CallOptions & {
        model?: string;
        id?: string;
        eventTime?: Date;
    }): Promise<calls.StoredRecord>;
    /**
     * Store a record whole. Fails with kind `conflict` if what the store holds is newer than `eventTime`.
     * @param {string} id @param {Row} values @param {CallOptions & {model?: string, eventTime?: Date}} [options]
     */
    putRecord(id: string, values: Row, options?: CallOptions & {
        model?: string;
        eventTime?: Date;
    }): Promise<calls.StoredRecord>;
    /**
     * Remove a record.
     * @param {string} id @param {CallOptions & {model?: string}} [options]
     */
    deleteRecord(id: string, options?: CallOptions & {
        model?: string;
    }): Promise<void>;
    /**
     * A page of the records.
     * @param {CallOptions & {cursor?: string, limit?: number, model?: string}} [options]
     */
    records(options?: CallOptions & {
        cursor?: string;
        limit?: number;
        model?: string;
    }): Promise<calls.RecordPage>;
    /**
     * Store the rows of a CSV; what cannot be stored is told in the report, row by row.
     * @param {Blob | string} csv @param {CallOptions & {model?: string}} [options]
     */
    importRecords(csv: Blob | string, options?: CallOptions & {
        model?: string;
    }): Promise<calls.ImportReport>;
    /**
     * Hand in rows to be predicted later; the id in the answer is good on every transport and after a restart.
     * @param {string} model @param {Row[]} rows @param {CallOptions & {idempotencyKey?: string}} [options]
     */
    submit(model: string, rows: Row[], options?: CallOptions & {
        idempotencyKey?: string;
    }): Promise<calls.AsyncPrediction>;
    /**
     * How an asynchronous prediction stands.
     * @param {string} id @param {CallOptions} [options]
     */
    prediction(id: string, options?: CallOptions): Promise<calls.AsyncPrediction>;
    /**
     * A page of your asynchronous predictions, newest first and without their results; times are when they were handed in.
     * @param {CallOptions & import("./predicting.js").PredictionQuery} [options]
     */
    predictions(options?: CallOptions & import("./predicting.js").PredictionQuery): Promise<calls.AsyncPredictionPage>;
    /**
     * Cancel an asynchronous prediction that has not ended.
     * @param {string} id @param {CallOptions} [options]
     */
    cancel(id: string, options?: CallOptions): Promise<calls.AsyncPrediction>;
    /**
     * Wait until an asynchronous prediction has ended; fails with kind `deadline_exceeded` after `timeoutMs`, and it goes on.
     * @param {string} id @param {{timeoutMs?: number, signal?: AbortSignal}} [options]
     */
    wait(id: string, options?: {
        timeoutMs?: number;
        signal?: AbortSignal;
    }): Promise<calls.AsyncPrediction>;
    /**
     * @private
     * @template T
     * @param {() => import("./call.js").Call<T>} build
     * @param {CallOptions} options
     * @param {string[]} [own] names of the options that this verb has beside those of every call
     * @returns {Promise<T>}
     */
    private _run;
}
export type CallOptions = import("./call.js").CallOptions;
export type Row = import("./predicting.js").Row;
/**
 * `timeoutMs` bounds each call with its retries and is sent to the server as its deadline; null for no limit. `headers` go with
 * every request, `token` as `Authorization: Bearer`. `fetch` and `WebSocket` stand in for the platform's own: Node before 22 has
 * no WebSocket, the package `ws` has one.
 */
export type ClientOptions = {
    timeoutMs?: number | null | undefined;
    retry?: import("./retrying.js").RetryPolicy | undefined;
    headers?: Record<string, string> | undefined;
    token?: string | undefined;
    fetch?: typeof fetch | undefined;
    WebSocket?: any;
};
export type TensorMetadata = {
    name: string;
    datatype: import("./tensors.js").Datatype;
    shape: number[];
};
export type ModelMetadata = {
    name: string;
    versions: string[];
    platform: string;
    inputs: TensorMetadata[];
    outputs: TensorMetadata[];
    bundle?: string | undefined;
};
import * as calls from "./predicting.js";
import { Stream } from "./stream.js";
