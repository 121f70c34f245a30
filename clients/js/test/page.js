// Runs the checks in a browser, against the page's own origin or `?server=` with `&token=`; `outcome` is what became of each.

import { Client } from "../src/index.js";
import { checks } from "./checks.js";

/** @param {unknown} value */
const shown = (value) =>
  JSON.stringify(value, (_, part) => (ArrayBuffer.isView(part) ? Array.from(/** @type {any} */ (part), String) : part));

/** @type {(found: unknown, expected: unknown) => void} */
const equal = (found, expected) => {
  if (shown(found) !== shown(expected)) throw new Error(`expected ${shown(expected)}, got ${shown(found)}`);
};

async function main() {
  const query = new URLSearchParams(location.search);
  const token = query.get("token");
  /** @type {import("./checks.js").Connect} */
  const connect = (options) => new Client(query.get("server") ?? location.origin, { ...(token ? { token } : {}), ...options });
  /** @type {Record<string, string>} */
  const outcome = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check(connect, equal);
      outcome[name] = "passed";
    } catch (error) {
      outcome[name] = String(error);
    }
  }
  return outcome;
}

/** @type {any} */ (globalThis).outcome = main();
