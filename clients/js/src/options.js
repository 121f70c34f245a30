/**
 * Options that nobody knows are refused by name: a misspelt `timeout` would else be a call without a deadline.
 */

/** What every single call may be given: the members of CallOptions. */
export const CALL = ["timeoutMs", "signal", "priority", "routeKey", "expectBundle", "requestId", "traceparent"];
/** The members of InferOptions. */
export const INFER = ["outputs", "id", "parameters", "binary"];

/**
 * Throws TypeError for what is no object, and for a member of it that is none of `known`.
 * @param {unknown} options
 * @param {readonly string[]} known
 * @param {string} [where] the path of the options in what the caller gave
 */
export function checkOptions(options, known, where = "options") {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`${where}: expected an object, got ${options === null ? "null" : typeof options}`);
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const near = known.find((one) => one.toLowerCase().startsWith(name.toLowerCase()) || flat(one) === flat(name));
    const hint = near === undefined ? `expected ${known.join(", ")}` : `did you mean ${near}?`;
    throw new TypeError(`${where}.${name}: no such option; ${hint}`);
  }
}

/** @param {string} name `timeout_ms` and `timeoutms` are `timeoutMs` to this */
function flat(name) {
  return name.toLowerCase().replace(/[^a-z]/g, "");
}
