/**
 * A stream of inference requests over one WebSocket: many in flight, answers as they are ready, within the server's credit.
 *
 * A text frame is v2 JSON; a binary one a u32 little-endian header length, v2 JSON of that length, and tensors. What HTTP says in
 * headers a message says in parameters of the same names. A connection that ends is opened anew by the next request; requests
 * that it took with it are sent again, as over HTTP.
 */

import { documentOf, optionHeaders } from "./call.js";
import { PenstockError } from "./errors.js";
import { requestOf, resultOf } from "./inference.js";
import { CALL, checkOptions, INFER } from "./options.js";
import { Attempts } from "./retrying.js";
import { pause } from "./transport.js";

// Answers are matched by `id`, which is the stream's own.
const KNOWN = [...CALL, ...INFER.filter((name) => name !== "id")];

/** @typedef {import("./inference.js").Inference} Inference */
/** @typedef {import("./call.js").Answer} Answer */
/** @typedef {{fault: "notSent" | "lost" | "timedOut", cause: unknown}} Failure */

/** One connection: its credit, who waits for some, and who waits for which answer. */
class Link {
  /** @param {string} url @param {string[]} protocols @param {any} WebSocketClass */
  constructor(url, protocols, WebSocketClass) {
    this.lost = false;
    this._credit = 0;
    this._opened = false;
    /** @type {(() => void)[]} */
    this._waiting = [];
    /** @type {Map<string, (outcome: Inference | Answer | Failure) => void>} */
    this._flying = new Map();
    this._socket = new WebSocketClass(url, protocols);
    this._socket.binaryType = "arraybuffer";
    this._socket.onopen = () => (this._opened = true);
    this._socket.onmessage = (/** @type {MessageEvent} */ event) => this._take(event.data);
    this._socket.onerror = () => this._end("the connection failed");
    this._socket.onclose = (/** @type {CloseEvent} */ event) => this._end(event.reason || `the connection ended (${event.code})`);
  }

  /**
   * Send a request once there is credit for it; what it is answered. `left` aborts when the caller waits no longer.
   * @param {string} id @param {string | Uint8Array<ArrayBuffer>} frame @param {AbortSignal} left
   * @returns {Promise<Inference | Answer | Failure>}
   */
  ask(id, frame, left) {
    return new Promise((resolve) => {
      const send = () => {
        if (left.aborted) return;
        if (this.lost) {
          resolve(this._failure("the connection ended"));
          return;
        }
        this._credit -= 1;
        this._flying.set(id, resolve);
        this._socket.send(frame);
      };
      // A late answer to somebody who has left finds nobody; its credit comes back all the same.
      left.addEventListener("abort", () => this._flying.delete(id), { once: true });
      if (this._credit > 0 || this.lost) send();
      else this._waiting.push(send);
    });
  }

  close() {
    this._socket.close();
    this._end("the stream was closed");
  }

  /** @param {string | ArrayBuffer} data */
  _take(data) {
    try {
      const binary = typeof data !== "string";
      const length = binary ? new DataView(data).getUint32(0, true) : 0;
      const body = binary ? new Uint8Array(data, 4, length) : new TextEncoder().encode(data);
      const document = documentOf({ status: 200, header: () => null, body });
      if (typeof document.credit === "number") {
        this._grant(document.credit);
        return;
      }
      const resolve = this._flying.get(document.id);
      if (resolve === undefined) return;
      this._flying.delete(document.id);
      const tail = binary ? new Uint8Array(data, 4 + length) : null;
      resolve("error" in document ? refusalOf(document, body) : resultOf(document, tail));
    } catch (error) {
      this._socket.close();
      this._end(`the server's frame could not be read: ${error}`);
    }
  }

  /** @param {number} credit */
  _grant(credit) {
    this._credit += credit;
    while (this._credit > 0 && this._waiting.length) this._waiting.shift()?.();
  }

  /** @param {string} reason */
  _end(reason) {
    if (this.lost) return;
    this.lost = true;
    const failure = this._failure(reason);
    for (const resolve of this._flying.values()) resolve(failure);
    this._flying.clear();
    for (const send of this._waiting.splice(0)) send();
  }

  /** @param {string} reason @returns {Failure} */
  _failure(reason) {
    return { fault: this._opened ? "lost" : "notSent", cause: new Error(reason) };
  }
}

/** Inference over one WebSocket. Made by `Client.stream`; close it in the end. */
export class Stream {
  /** @param {import("./transport.js").Settings} settings @param {string} path @param {any} WebSocketClass */
  constructor(settings, path, WebSocketClass) {
    if (WebSocketClass === undefined) {
      const remedy = "there is no WebSocket here; Node 22 has one, or give the class of the package ws";
      throw new PenstockError("invalid_input", remedy, { field: "WebSocket" });
    }
    /** @private */
    this._settings = settings;
    /** @private */
    this._url = `${settings.url.replace(/^http/, "ws")}${path}/stream`;
    // A page can set no headers on a WebSocket: its credential goes as a subprotocol, which the server does not send back.
    const token = settings.headers.authorization?.replace(/^Bearer /, "");
    /** @private */
    this._protocols = token === undefined ? [] : ["penstock.stream", `penstock.bearer.${token}`];
    /** @private */
    this._WebSocket = WebSocketClass;
    /** @private */
    this._made = 0;
    /** @private @type {Link | null} */
    this._link = null;
    /** @private */
    this._closed = false;
  }

  /**
   * Tensors in, tensors out. May be called many times at once: that is what a stream is for.
   * @param {Record<string, import("./tensors.js").Tensor>} inputs
   * @param {import("./call.js").CallOptions & Omit<import("./inference.js").InferOptions, "id">} [options]
   * @returns {Promise<Inference>}
   */
  async infer(inputs, options = {}) {
    checkOptions(options, KNOWN);
    const { timeoutMs = this._settings.timeoutMs, signal } = options;
    const attempts = new Attempts({}, this._settings.retry, timeoutMs);
    const given = optionHeaders(options);
    for (;;) {
      this._made += 1;
      const id = this._made.toString(16);
      const parameters = { ...options.parameters, ...given, ...attempts.headers() };
      const frame = frameOf(requestOf(inputs, { ...options, id, parameters }));
      const outcome = await this._try(id, frame, attempts.remainingMs(), signal);
      if ("outputs" in outcome) return { ...outcome, requestId: options.requestId ?? "" };
      const wait = "fault" in outcome ? attempts.failed(outcome.fault, outcome.cause) : attempts.answered(outcome);
      await pause(wait ?? 0, signal);
    }
  }

  /** End the connection; requests in flight fail with kind `cancelled`. */
  close() {
    this._closed = true;
    this._link?.close();
    this._link = null;
  }

  /**
   * @private
   * @param {string} id @param {string | Uint8Array<ArrayBuffer>} frame @param {number | null} leftMs
   * @param {AbortSignal} [signal]
   * @returns {Promise<Inference | Answer | Failure>}
   */
  async _try(id, frame, leftMs, signal) {
    if (signal?.aborted) throw signal.reason;
    if (this._closed) throw new PenstockError("cancelled", "the stream was closed");
    if (this._link === null || this._link.lost) this._link = new Link(this._url, this._protocols, this._WebSocket);
    const left = new AbortController();
    let timer;
    /** @type {() => void} */
    let leave = () => undefined;
    try {
      return await Promise.race([
        this._link.ask(id, frame, left.signal),
        new Promise((resolve) => {
          if (leftMs !== null) timer = setTimeout(() => resolve({ fault: "timedOut", cause: undefined }), leftMs);
        }),
        new Promise((_, reject) => {
          leave = () => reject(signal?.reason);
          signal?.addEventListener("abort", leave);
        }),
      ]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", leave);
      left.abort();
    }
  }
}

/**
 * @param {{parts: Uint8Array<ArrayBuffer>[], headerLength: number | null}} request
 * @returns {string | Uint8Array<ArrayBuffer>}
 */
function frameOf({ parts, headerLength }) {
  if (headerLength === null) return new TextDecoder().decode(parts[0]);
  const frame = new Uint8Array(parts.reduce((total, part) => total + part.length, 4));
  new DataView(frame.buffer).setUint32(0, headerLength, true);
  let at = 4;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

/**
 * A refusal in the form of an HTTP answer.
 * @param {Record<string, any>} document @param {Uint8Array} body @returns {Answer}
 */
function refusalOf(document, body) {
  const wait = document.retry_after_ms;
  const header = (/** @type {string} */ name) => (name === "retry-after-ms" && typeof wait === "number" ? String(wait) : null);
  return { status: typeof document.status === "number" ? document.status : 500, header, body };
}
