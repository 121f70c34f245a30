/**
 * What goes wrong, as one class whose `kind` is the server's own: the same names as in its metrics and its Python client.
 *
 * problem+json names kind and field; `{"error": …}` on protocol paths names the field before a colon, and the status tells the
 * kind.
 */

/**
 * @typedef {"invalid_input" | "too_large" | "unsupported_type" | "unauthenticated" | "forbidden" | "not_found" | "conflict"
 *   | "wrong_bundle" | "overloaded" | "deadline_exceeded" | "cancelled" | "not_ready" | "upstream_unavailable"
 *   | "internal"} ErrorKind
 */

/** @type {Record<number, ErrorKind>} */
const KIND_OF_STATUS = {
  400: "invalid_input",
  401: "unauthenticated",
  403: "forbidden",
  404: "not_found",
  405: "invalid_input",
  408: "deadline_exceeded",
  409: "conflict",
  412: "wrong_bundle",
  413: "too_large",
  415: "unsupported_type",
  422: "invalid_input",
  429: "overloaded",
  431: "too_large",
  499: "cancelled",
  500: "internal",
  503: "not_ready",
  504: "deadline_exceeded",
};
const KINDS = new Set([...Object.values(KIND_OF_STATUS), "upstream_unavailable"]);
// `inputs[1].data[3]: expected …`, `Penstock-Timeout-Ms: …`; other words before a colon belong to the message.
const MEMBER = "(?:inputs|outputs|instances|rows|parameters|options|id|body|model|version)(?:[.[][^\\s:]*)?";
const FIELD = new RegExp(`^(${MEMBER}|[A-Z]\\w*(?:-\\w+)+): `);
const LONGEST = 2000;

/** An error of the server, of the way to it, or of how it was asked. */
export class PenstockError extends Error {
  /**
   * @param {ErrorKind} kind
   * @param {string} message what was wrong, and what was expected
   * @param {{field?: string | null, status?: number, bundle?: string, requestId?: string, retryAfterMs?: number,
   *   cause?: unknown}} [more]
   */
  constructor(kind, message, more = {}) {
    super(more.field ? `${more.field}: ${message}` : message, "cause" in more ? { cause: more.cause } : undefined);
    this.name = "PenstockError";
    /** @type {ErrorKind} */
    this.kind = kind;
    /** The path of the field at fault, such as `rows[3].carrier`; null if no field is. @type {string | null} */
    this.field = more.field ?? null;
    /** The HTTP status, 0 if there was no answer. @type {number} */
    this.status = more.status ?? 0;
    /** The bundle that the request had been routed to, "" if it did not get that far. @type {string} */
    this.bundle = more.bundle ?? "";
    /** What the server's log calls the request. @type {string} */
    this.requestId = more.requestId ?? "";
    /** When to come back, if the server said so. @type {number | null} */
    this.retryAfterMs = more.retryAfterMs ?? null;
  }
}

/**
 * The error that an answer means.
 * @param {import("./call.js").Answer} answer
 * @returns {PenstockError}
 */
export function errorOf(answer) {
  const document = objectOf(answer.body);
  let field = typeof document.field === "string" ? document.field : null;
  let message = firstText(document.error, document.detail, document.title) ?? `the server answered with status ${answer.status}`;
  if (field !== null && message.startsWith(`${field}: `)) {
    message = message.slice(field.length + 2);
  } else if (field === null && typeof document.error === "string" && answer.status < 500) {
    const match = FIELD.exec(message);
    if (match) {
      field = match[1] ?? null;
      message = message.slice(match[0].length);
    }
  }
  const named = typeof document.kind === "string" && KINDS.has(document.kind) ? document.kind : undefined;
  const kind = /** @type {ErrorKind} */ (named ?? KIND_OF_STATUS[answer.status] ?? "upstream_unavailable");
  const wait = retryAfterMs(answer);
  return new PenstockError(kind, message, {
    field,
    status: answer.status,
    bundle: answer.header("penstock-bundle") ?? "",
    requestId: answer.header("x-request-id") ?? "",
    ...(wait === null ? {} : { retryAfterMs: wait }),
  });
}

/**
 * When to try again, if the answer says: `Retry-After-Ms`, else `Retry-After` in seconds or as a date.
 * @param {import("./call.js").Answer} answer
 * @returns {number | null}
 */
export function retryAfterMs(answer) {
  const milliseconds = answer.header("retry-after-ms") ?? "";
  if (/^\d+$/.test(milliseconds)) return Number(milliseconds);
  const given = answer.header("retry-after") ?? "";
  if (/^\d+$/.test(given)) return Number(given) * 1000;
  const moment = Date.parse(given);
  return Number.isNaN(moment) ? null : Math.max(0, moment - Date.now());
}

/**
 * @param {Uint8Array} body
 * @returns {Record<string, unknown>} the JSON object of a body, empty if it is none
 */
function objectOf(body) {
  try {
    const document = JSON.parse(new TextDecoder().decode(body));
    return typeof document === "object" && document !== null ? document : {};
  } catch {
    return {};
  }
}

/** @param {unknown[]} texts */
function firstText(...texts) {
  for (const text of texts) if (typeof text === "string") return text.slice(0, LONGEST);
  return null;
}
