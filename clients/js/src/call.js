/**
 * One request and how its answer is read, as values: what every verb of the client is made of, before any I/O.
 *
 * A call holds all that a retry needs, so that sending it twice sends the same bytes.
 */

import { PenstockError } from "./errors.js";

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
export function pathOf(template, parts, query = {}) {
  let at = 0;
  const path = template.replace(/\{\}/g, () => segment(parts[at++] ?? ""));
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return search ? `${path}?${search}` : path;
}

/** @param {string} part */
function segment(part) {
  if (part === "." || part === "..") {
    throw new PenstockError("invalid_input", `an address cannot hold ${JSON.stringify(part)} by itself`, { field: "id" });
  }
  return encodeURIComponent(part);
}

/**
 * The request headers of a call's options, but for the deadline, which is another one each time that it is sent.
 * @param {CallOptions} options
 * @returns {Record<string, string>}
 */
export function optionHeaders(options) {
  /** @type {Record<string, string>} */
  const headers = {};
  const given = {
    "penstock-priority": options.priority === undefined ? undefined : String(options.priority),
    "penstock-route-key": options.routeKey,
    "penstock-expect-bundle": options.expectBundle,
    "x-request-id": options.requestId,
    traceparent: options.traceparent,
  };
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (!/^[\x20-\x7e\x80-\xff]*$/.test(value)) {
      throw new PenstockError("invalid_input", "expected one line of text that a header can hold", { field: name });
    }
    headers[name] = value;
  }
  return headers;
}

/**
 * The JSON object of an answer; an answer that is none came from something else.
 * @param {Answer} answer
 * @returns {Record<string, any>}
 */
export function documentOf(answer) {
  let document;
  try {
    document = JSON.parse(new TextDecoder().decode(answer.body));
  } catch (error) {
    throw new PenstockError("upstream_unavailable", "the answer is not JSON", { status: answer.status, cause: error });
  }
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new PenstockError("upstream_unavailable", "the answer is no JSON object", { status: answer.status });
  }
  return document;
}
