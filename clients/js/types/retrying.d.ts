export class Attempts {
    /**
     * @param {Pick<import("./call.js").Call<unknown>, "repeat" | "also" | "outlives">} call
     * @param {RetryPolicy} policy
     * @param {number | null} timeoutMs for all tries together, waits included
     * @param {() => number} [clock]
     * @param {() => number} [spread]
     */
    constructor(call: Pick<import("./call.js").Call<unknown>, "repeat" | "also" | "outlives">, policy: RetryPolicy, timeoutMs: number | null, clock?: () => number, spread?: () => number);
    made: number;
    _call: Pick<import("./call.js").Call<unknown>, "repeat" | "also" | "outlives">;
    _policy: {
        attempts: number;
        baseMs: number;
        maxWaitMs: number;
    };
    _clock: () => number;
    _spread: () => number;
    _deadline: number | null;
    /** What is left of the deadline; null without one. Throws deadline_exceeded if it has passed. */
    remainingMs(): number | null;
    /**
     * The headers of the next try that change from try to try. Counts the try.
     * @returns {Record<string, string>}
     */
    headers(): Record<string, string>;
    /**
     * @param {import("./call.js").Answer} answer
     * @returns {number | null} null if the answer is the result, else the wait before the next try; throws what the answer means
     */
    answered(answer: import("./call.js").Answer): number | null;
    /**
     * @param {"notSent" | "lost" | "timedOut"} fault
     * @param {unknown} cause
     * @returns {number} the wait before the next try; throws deadline_exceeded or upstream_unavailable
     */
    failed(fault: "notSent" | "lost" | "timedOut", cause: unknown): number;
    _isSafe(): boolean;
    /**
     * @param {PenstockError} error
     * @param {number | null} askedMs
     */
    _wait(error: PenstockError, askedMs: number | null): number;
}
/**
 * `attempts` in all; between them the wait that the server asks for, else `baseMs` doubling; never above `maxWaitMs`.
 */
export type RetryPolicy = {
    attempts?: number | undefined;
    baseMs?: number | undefined;
    maxWaitMs?: number | undefined;
};
import { PenstockError } from "./errors.js";
