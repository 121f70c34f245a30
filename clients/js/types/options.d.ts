/**
 * Throws TypeError for what is no object, and for a member of it that is none of `known`.
 * @param {unknown} options
 * @param {readonly string[]} known
 * @param {string} [where] the path of the options in what the caller gave
 */
export function checkOptions(options: unknown, known: readonly string[], where?: string): void;
/**
 * Options that nobody knows are refused by name: a misspelt `timeout` would else be a call without a deadline.
 */
/** What every single call may be given: the members of CallOptions. */
export const CALL: string[];
/** The members of InferOptions. */
export const INFER: string[];
