// Against a real server of the flights example's kind at PENSTOCK_URL; tests/integration/client/test_javascript.py starts it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { checks } from "./checks.js";

const url = process.env.PENSTOCK_URL;
const skip = url ? false : "PENSTOCK_URL is not set: .venv/bin/pytest tests/integration/client runs this with a server";

for (const [name, check] of Object.entries(checks)) {
  const noSocket = name.startsWith("stream") && typeof WebSocket === "undefined" ? "this Node has no WebSocket" : false;
  test(name, { skip: skip || noSocket }, () => check(String(url), assert.deepEqual));
}
