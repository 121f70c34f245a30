/**
 * Whether, and when, a call is sent again: a state machine without I/O, one for each call.
 *
 *     headers() -> send -> answered(answer) | failed(fault) -> null (done) | milliseconds to wait, then again | throws
 *
 * Sent again: what the server refused for being busy (429), not ready or its upstream away (503, and 502 of a proxy), and what
 * was lost with its connection where repeating is safe. Never after a time-out. No wait ends behind the deadline.
 */

import { errorOf, PenstockError, retryAfterMs } from "./errors.js";

/**
 * `attempts` in all; between them the wait that the server asks for, else `baseMs` doubling; never above `maxWaitMs`.
 * @typedef {object} RetryPolicy
 * @property {number} [attempts]
 * @property {number} [baseMs]
 * @property {number} [maxWaitMs]
 */

const DEFAULTS = { attempts: 4, baseMs: 50, maxWaitMs: 10_000 };
// A caller told to come back in a second comes back within 1 and 1.2, so that a thousand of them do not come at once.
const SPREAD = 0.2;

export class Attempts {
  /**
   * @param {Pick<import("./call.js").Call<unknown>, "repeat" | "also" | "outlives">} call
   * @param {RetryPolicy} policy
   * @param {number | null} timeoutMs for all tries together, waits included
   * @param {() => number} [clock]
   * @param {() => number} [spread]
   */
  constructor(call, policy, timeoutMs, clock = () => performance.now(), spread = Math.random) {
    this.made = 0;
    this._call = call;
    this._policy = { ...DEFAULTS, ...policy };
    this._clock = clock;
    this._spread = spread;
    this._deadline = timeoutMs === null ? null : clock() + timeoutMs;
  }

  /** What is left of the deadline; null without one. Throws deadline_exceeded if it has passed. */
  remainingMs() {
    if (this._deadline === null) return null;
    const left = this._deadline - this._clock();
    if (left <= 0) throw new PenstockError("deadline_exceeded", "the time given for this call is over");
    return left;
  }

  /**
   * The headers of the next try that change from try to try. Counts the try.
   * @returns {Record<string, string>}
   */
  headers() {
    const left = this.remainingMs();
    this.made += 1;
    return left === null || this._call.outlives ? {} : { "penstock-timeout-ms": String(Math.max(1, Math.floor(left))) };
  }

  /**
   * @param {import("./call.js").Answer} answer
   * @returns {number | null} null if the answer is the result, else the wait before the next try; throws what the answer means
   */
  answered(answer) {
    if ((answer.status >= 200 && answer.status < 300) || this._call.also?.includes(answer.status)) return null;
    const error = errorOf(answer);
    const passes = error.kind === "overloaded" || error.kind === "not_ready";
    if (!passes && !(error.kind === "upstream_unavailable" && this._isSafe())) throw error;
    return this._wait(error, retryAfterMs(answer));
  }

  /**
   * @param {"notSent" | "lost" | "timedOut"} fault
   * @param {unknown} cause
   * @returns {number} the wait before the next try; throws deadline_exceeded or upstream_unavailable
   */
  failed(fault, cause) {
    if (fault === "timedOut" || (this._deadline !== null && this._clock() >= this._deadline)) {
      throw new PenstockError("deadline_exceeded", "no answer came in time", { cause });
    }
    const what = (fault === "notSent" ? "the server could not be reached" : "the connection failed before the answer") + reasonOf(cause);
    const error = new PenstockError("upstream_unavailable", what, { cause });
    if (fault === "lost" && !this._isSafe()) throw error;
    return this._wait(error, null);
  }

  _isSafe() {
    return (this._call.repeat ?? "always") === "always";
  }

  /**
   * @param {PenstockError} error
   * @param {number | null} askedMs
   */
  _wait(error, askedMs) {
    const { attempts, baseMs, maxWaitMs } = this._policy;
    if (this.made >= attempts || (askedMs !== null && askedMs > maxWaitMs)) throw error;
    const doubled = Math.min(maxWaitMs, baseMs * 2 ** (this.made - 1)) * (0.5 + 0.5 * this._spread());
    const wait = askedMs === null ? doubled : askedMs * (1 + SPREAD * this._spread());
    if (this._deadline !== null && this._clock() + wait >= this._deadline) throw error;
    return wait;
  }
}

/**
 * What the platform says of a failed fetch, to go behind the error's own words; "" if it says nothing. Node hides it in the cause.
 * @param {any} cause
 */
function reasonOf(cause) {
  const reason = cause?.cause?.message || cause?.cause?.code || cause?.message;
  return reason ? `: ${reason}` : "";
}
