// Runs the checks in a browser, against the page's own origin or `?server=`; `outcome` is what became of each.

import { checks } from "./checks.js";

/** @param {unknown} value */
const shown = (value) =>
  JSON.stringify(value, (_, part) => (ArrayBuffer.isView(part) ? Array.from(/** @type {any} */ (part), String) : part));

/** @type {(found: unknown, expected: unknown) => void} */
const equal = (found, expected) => {
  if (shown(found) !== shown(expected)) throw new Error(`expected ${shown(expected)}, got ${shown(found)}`);
};

async function main() {
  const server = new URLSearchParams(location.search).get("server") ?? location.origin;
  /** @type {Record<string, string>} */
  const outcome = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check(server, equal);
      outcome[name] = "passed";
    } catch (error) {
      outcome[name] = String(error);
    }
  }
  return outcome;
}

/** @type {any} */ (globalThis).outcome = main();
