/**
 * The error that an answer means.
 * @param {import("./call.js").Answer} answer
 * @returns {PenstockError}
 */
export function errorOf(answer: import("./call.js").Answer): PenstockError;
/**
 * When to try again, if the answer says: `Retry-After-Ms`, else `Retry-After` in seconds or as a date.
 * @param {import("./call.js").Answer} answer
 * @returns {number | null}
 */
export function retryAfterMs(answer: import("./call.js").Answer): number | null;
/** An error of the server, of the way to it, or of how it was asked. */
export class PenstockError extends Error {
    /**
     * @param {ErrorKind} kind
     * @param {string} message what was wrong, and what was expected
     * @param {{field?: string | null, status?: number, bundle?: string, requestId?: string, retryAfterMs?: number,
     *   cause?: unknown}} [more]
     */
    constructor(kind: ErrorKind, message: string, more?: {
        field?: string | null;
        status?: number;
        bundle?: string;
        requestId?: string;
        retryAfterMs?: number;
        cause?: unknown;
    });
    /** @type {ErrorKind} */
    kind: ErrorKind;
    /** The path of the field at fault, such as `rows[3].carrier`; null if no field is. @type {string | null} */
    field: string | null;
    /** The HTTP status, 0 if there was no answer. @type {number} */
    status: number;
    /** The bundle that the request had been routed to, "" if it did not get that far. @type {string} */
    bundle: string;
    /** What the server's log calls the request. @type {string} */
    requestId: string;
    /** When to come back, if the server said so. @type {number | null} */
    retryAfterMs: number | null;
}
export type ErrorKind = "invalid_input" | "too_large" | "unsupported_type" | "unauthenticated" | "forbidden" | "not_found" | "conflict" | "wrong_bundle" | "overloaded" | "deadline_exceeded" | "cancelled" | "not_ready" | "upstream_unavailable" | "internal";
