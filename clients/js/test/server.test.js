// Against the real server at PENSTOCK_URL (with PENSTOCK_TOKEN, if any); tests/integration/client/test_javascript.py starts it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Client } from "../src/index.js";
import { checks } from "./checks.js";

const url = process.env.PENSTOCK_URL;
const token = process.env.PENSTOCK_TOKEN;
/** @type {import("./checks.js").Connect} */
const connect = (options) => new Client(url, { ...(token ? { token } : {}), ...options });
const skip = url ? false : "PENSTOCK_URL is not set: .venv/bin/pytest tests/integration/client runs this with a server";

for (const [name, check] of Object.entries(checks)) {
  const noSocket = name.startsWith("stream") && typeof WebSocket === "undefined" ? "this Node has no WebSocket" : false;
  test(name, { skip: skip || noSocket }, () => check(connect, assert.deepEqual));
}
