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
export function run<T>(settings: Settings, call: import("./call.js").Call<T>, options: import("./call.js").CallOptions): Promise<T>;
/**
 * Resolves after some milliseconds; rejects with the signal's reason.
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void>;
/** An id that nobody else made: 128 random bits. Node 18 has no global `crypto`, and an id is no secret. */
export function newId(): string;
/**
 * The server's address without a slash at its end; `http://` where no scheme is given.
 * @param {string} url
 */
export function checkedUrl(url: string): string;
/**
 * What all calls of a client share.
 */
export type Settings = {
    url: string;
    timeoutMs: number | null;
    retry: import("./retrying.js").RetryPolicy;
    headers: Record<string, string>;
    fetch: typeof globalThis.fetch;
};
