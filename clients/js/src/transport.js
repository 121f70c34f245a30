/**
 * The one place that calls fetch: a call is sent until its attempts say that it is done, within its deadline and its signal.
 */

import { Attempts } from "./retrying.js";
import { optionHeaders } from "./call.js";
import { PenstockError } from "./errors.js";

// What Node says of a connection that never was; browsers tell no reasons, and such a failure counts as lost.
const NOT_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"]);

/**
 * What all calls of a client share.
 * @typedef {object} Settings
 * @property {string} url
 * @property {number | null} timeoutMs
 * @property {import("./retrying.js").RetryPolicy} retry
 * @property {Record<string, string>} headers
 * @property {typeof globalThis.fetch} fetch
 */

/**
 * Send a call and read its result. Rejects with PenstockError, or with the signal's reason.
 * @template T
 * @param {Settings} settings
 * @param {import("./call.js").Call<T>} call
 * @param {import("./call.js").CallOptions} options
 * @returns {Promise<T>}
 */
export async function run(settings, call, options) {
  const headers = { "x-request-id": newId(), ...settings.headers, ...call.headers, ...optionHeaders(options) };
  const attempts = new Attempts(call, settings.retry, options.timeoutMs === undefined ? settings.timeoutMs : options.timeoutMs);
  try {
    for (;;) {
      const outcome = await send(settings, call, { ...headers, ...attempts.headers() }, attempts.remainingMs(), options.signal);
      const wait = "fault" in outcome ? attempts.failed(outcome.fault, outcome.cause) : attempts.answered(outcome);
      if (wait === null) return call.read(/** @type {import("./call.js").Answer} */ (outcome));
      await pause(wait, options.signal);
    }
  } catch (error) {
    if (error instanceof PenstockError && !error.requestId) error.requestId = headers["x-request-id"];
    throw error;
  }
}

/**
 * One try, ended at the deadline wherever it is.
 * @param {Settings} settings
 * @param {import("./call.js").Call<unknown>} call
 * @param {Record<string, string>} headers
 * @param {number | null} leftMs
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<import("./call.js").Answer | {fault: "notSent" | "lost" | "timedOut", cause: unknown}>}
 */
async function send(settings, call, headers, leftMs, signal) {
  const ending = new AbortController();
  const leave = () => ending.abort(signal?.reason);
  if (signal?.aborted) throw signal.reason;
  signal?.addEventListener("abort", leave);
  let late = false;
  const timer = leftMs === null ? undefined : setTimeout(() => ((late = true), ending.abort()), leftMs);
  try {
    const { method, path, body } = call;
    const content = body === undefined ? {} : { body };
    const response = await settings.fetch(settings.url + path, { method, headers, signal: ending.signal, ...content });
    const bytes = new Uint8Array(await response.arrayBuffer());
    return { status: response.status, header: (name) => response.headers.get(name), body: bytes };
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (late) return { fault: "timedOut", cause: error };
    const code = /** @type {any} */ (error)?.cause?.code;
    return { fault: NOT_SENT.has(code) ? "notSent" : "lost", cause: error };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", leave);
  }
}

/**
 * Resolves after some milliseconds; rejects with the signal's reason.
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, milliseconds);
    if (signal?.aborted) end();
    else signal?.addEventListener("abort", end, { once: true });
  });
}

/** An id that nobody else made: 128 random bits. Node 18 has no global `crypto`, and an id is no secret. */
export function newId() {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) crypto.getRandomValues(bytes);
  else bytes.forEach((_, at) => (bytes[at] = Math.floor(Math.random() * 256)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The server's address without a slash at its end; `http://` where no scheme is given.
 * @param {string} url
 */
export function checkedUrl(url) {
  const full = (url.includes("://") ? url : `http://${url}`).replace(/\/+$/, "");
  let parsed;
  try {
    parsed = new URL(full);
  } catch {
    parsed = null;
  }
  if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.search || parsed.hash) {
    const message = `expected an address like http://127.0.0.1:8080, got ${JSON.stringify(url)}`;
    throw new PenstockError("invalid_input", message, { field: "url" });
  }
  return full;
}
