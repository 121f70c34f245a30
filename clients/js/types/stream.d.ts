/** Inference over one WebSocket. Made by `Client.stream`; close it in the end. */
export class Stream {
    /** @param {import("./transport.js").Settings} settings @param {string} path @param {any} WebSocketClass */
    constructor(settings: import("./transport.js").Settings, path: string, WebSocketClass: any);
    /** @private */
    private _settings;
    /** @private */
    private _url;
    /** @private */
    private _protocols;
    /** @private */
    private _WebSocket;
    /** @private */
    private _made;
    /** @private @type {Link | null} */
    private _link;
    /** @private */
    private _closed;
    /**
     * Tensors in, tensors out. May be called many times at once: that is what a stream is for.
     * @param {Record<string, import("./tensors.js").Tensor>} inputs
     * @param {import("./call.js").CallOptions & Omit<import("./inference.js").InferOptions, "id">} [options]
     * @returns {Promise<Inference>}
     */
    infer(inputs: Record<string, import("./tensors.js").Tensor>, options?: import("./call.js").CallOptions & Omit<import("./inference.js").InferOptions, "id">): Promise<Inference>;
    /** End the connection; requests in flight fail with kind `cancelled`. */
    close(): void;
    /**
     * @private
     * @param {string} id @param {string | Uint8Array<ArrayBuffer>} frame @param {number | null} leftMs
     * @param {AbortSignal} [signal]
     * @returns {Promise<Inference | Answer | Failure>}
     */
    private _try;
}
export type Inference = import("./inference.js").Inference;
export type Answer = import("./call.js").Answer;
export type Failure = {
    fault: "notSent" | "lost" | "timedOut";
    cause: unknown;
};
