/**
 * What any single call may be given.
 * @typedef {object} CallOptions
 * @property {number | null} [timeoutMs] for the call with all its retries; the server is told what is left of it; null: no limit
 * @property {AbortSignal} [signal] ends the call, wherever it is, with the signal's reason
 * @property {number} [priority] lower goes first; 0 is normal
 * @property {string} [routeKey] what decides which bundle answers, instead of the first row's key
 * @property {string} [expectBundle] `sha256:…` or `name@sha256:…`; another bundle fails with kind `wrong_bundle`
 * @property {string} [requestId]
 * @property {string} [traceparent]
 */
/**
 * An HTTP answer, read whole.
 * @typedef {object} Answer
 * @property {number} status
 * @property {(name: string) => string | null} header
 * @property {Uint8Array} body
 */
/**
 * `repeat`: "always" where the same call twice does what it does once; "ifRefused" where only a call that surely did nothing may
 * be sent again. `read` makes the result of an answer whose status is 2xx or in `also`.
 * @template T
 * @typedef {object} Call
 * @property {string} method
 * @property {string} path
 * @property {(answer: Answer) => T} read
 * @property {BodyInit} [body]
 * @property {Record<string, string>} [headers]
 * @property {"always" | "ifRefused"} [repeat]
 * @property {boolean} [outlives] what is handed in goes on without the caller, whose deadline is for handing it in alone
 * @property {number[]} [also]
 */
/**
 * A path: `template` with each `{}` replaced by an encoded part, and the query's members that are not undefined.
 * @param {string} template
 * @param {string[]} parts
 * @param {Record<string, string | number | undefined>} [query]
 */
export function pathOf(template: string, parts: string[], query?: Record<string, string | number | undefined>): string;
/**
 * The request headers of a call's options, but for the deadline, which is another one each time that it is sent.
 * @param {CallOptions} options
 * @returns {Record<string, string>}
 */
export function optionHeaders(options: CallOptions): Record<string, string>;
/**
 * The JSON object of an answer; an answer that is none came from something else.
 * @param {Answer} answer
 * @returns {Record<string, any>}
 */
export function documentOf(answer: Answer): Record<string, any>;
/**
 * What any single call may be given.
 */
export type CallOptions = {
    /**
     * for the call with all its retries; the server is told what is left of it; null: no limit
     */
    timeoutMs?: number | null | undefined;
    /**
     * ends the call, wherever it is, with the signal's reason
     */
    signal?: AbortSignal | undefined;
    /**
     * lower goes first; 0 is normal
     */
    priority?: number | undefined;
    /**
     * what decides which bundle answers, instead of the first row's key
     */
    routeKey?: string | undefined;
    /**
     * `sha256:…` or `name@sha256:…`; another bundle fails with kind `wrong_bundle`
     */
    expectBundle?: string | undefined;
    requestId?: string | undefined;
    traceparent?: string | undefined;
};
/**
 * An HTTP answer, read whole.
 */
export type Answer = {
    status: number;
    header: (name: string) => string | null;
    body: Uint8Array;
};
/**
 * `repeat`: "always" where the same call twice does what it does once; "ifRefused" where only a call that surely did nothing may
 * be sent again. `read` makes the result of an answer whose status is 2xx or in `also`.
 */
export type Call<T> = {
    method: string;
    path: string;
    read: (answer: Answer) => T;
    body?: BodyInit | undefined;
    headers?: Record<string, string> | undefined;
    repeat?: "always" | "ifRefused" | undefined;
    /**
     * what is handed in goes on without the caller, whose deadline is for handing it in alone
     */
    outlives?: boolean | undefined;
    also?: number[] | undefined;
};
