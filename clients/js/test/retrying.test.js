// When a call is sent again, and when it is not; with a fetch that answers by a script.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, PenstockError, Stream } from "../src/index.js";
import { Attempts } from "../src/retrying.js";

const PREDICTED = () => Response.json({ model: "m", bundle: "m@1", predictions: [{ value: 1 }] });
const BUSY = () => new Response('{"kind": "overloaded", "detail": "full"}', { status: 429, headers: { "Retry-After-Ms": "5" } });
const LOST = () => Promise.reject(new TypeError("fetch failed"));
const ABSENT = () => Promise.reject(new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } }));
const SILENT = (/** @type {any} */ init) =>
  new Promise((_, reject) => init.signal.addEventListener("abort", () => reject(init.signal.reason)));

/** @param {((init: any) => any)[]} script */
function scripted(...script) {
  /** @type {{url: string, init: any}[]} */
  const sent = [];
  const fetch = async (/** @type {any} */ url, /** @type {any} */ init) => {
    sent.push({ url, init });
    const next = script.shift();
    assert.ok(next, "one request more than expected");
    return next(init);
  };
  return { sent, client: new Client("host:80/base/", { fetch: /** @type {any} */ (fetch), retry: { baseMs: 1, attempts: 3 } }) };
}

test("busy and lost, then answered; the deadline shrinks and the id stays", async () => {
  const { client, sent } = scripted(BUSY, LOST, PREDICTED);
  const found = await client.predict("m", [{ a: 1 }], { timeoutMs: 5000, priority: 2, routeKey: "k", traceparent: "00" });
  assert.equal(found.predictions[0]?.value, 1);
  assert.equal(found.predictions[0]?.bundle, "m@1");
  assert.equal(sent[0]?.url, "http://host:80/base/models/m/predict");
  const heads = sent.map(({ init }) => init.headers);
  assert.equal(new Set(heads.map((head) => head["x-request-id"])).size, 1);
  const left = heads.map((head) => Number(head["penstock-timeout-ms"]));
  assert.ok(left[0] <= 5000 && left[0] > left[1] && left[1] > 0, String(left));
  assert.deepEqual([heads[0]["penstock-priority"], heads[0]["penstock-route-key"], heads[0].traceparent], ["2", "k", "00"]);
});

test("what is not safe is sent again only where it did nothing", async () => {
  const stored = () => Response.json({ id: "a", event_time: "2020-01-01T00:00:00Z", values: {} }, { status: 201 });
  assert.equal((await scripted(BUSY, ABSENT, stored).client.createRecord({ a: 1 })).id, "a");
  await assert.rejects(scripted(LOST).client.createRecord({ a: 1 }), { kind: "upstream_unavailable" });
  await assert.rejects(scripted(LOST).client.deleteRecord("a"), { kind: "upstream_unavailable" });
});

test("tries come to an end", async () => {
  await assert.rejects(scripted(BUSY, BUSY, BUSY).client.predict("m", []), { kind: "overloaded", retryAfterMs: 5 });
  const absent = { kind: "upstream_unavailable", message: "the server could not be reached: ECONNREFUSED" };
  await assert.rejects(scripted(ABSENT, ABSENT, ABSENT).client.predict("m", []), absent);
  const lost = { kind: "upstream_unavailable", message: "the connection failed before the answer: fetch failed" };
  await assert.rejects(scripted(LOST, LOST, LOST).client.predict("m", []), lost);
});

test("errors are those of the server", async () => {
  const problem = { kind: "invalid_input", field: "rows[0].a", detail: "missing" };
  const headers = { "penstock-bundle": "m@1", "x-request-id": "r" };
  await assert.rejects(scripted(() => Response.json(problem, { status: 400, headers })).client.predict("m", [{}]), (error) => {
    assert.ok(error instanceof PenstockError);
    assert.equal(error.message, "rows[0].a: missing");
    assert.deepEqual([error.kind, error.field, error.status], ["invalid_input", "rows[0].a", 400]);
    assert.deepEqual([error.bundle, error.requestId], ["m@1", "r"]);
    return true;
  });
  const protocol = Response.json({ error: "inputs[0].data[1]: expected a number" }, { status: 400 });
  await assert.rejects(scripted(() => protocol).client.models(), { field: "inputs[0].data[1]", kind: "invalid_input" });
  const worded = Response.json({ error: "no model: gone" }, { status: 404 });
  await assert.rejects(scripted(() => worded).client.models(), { field: null, kind: "not_found", message: "no model: gone" });
  for (const [status, kind] of [[412, "wrong_bundle"], [504, "deadline_exceeded"], [500, "internal"], [409, "conflict"]]) {
    await assert.rejects(scripted(() => new Response("", { status: Number(status) })).client.models(), { kind });
  }
});

test("a silent server is left at the deadline, a caller's signal at once", async () => {
  await assert.rejects(scripted(SILENT).client.models({ timeoutMs: 20 }), { kind: "deadline_exceeded" });
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(scripted().client.models({ signal }), /enough/);
  const ending = new AbortController();
  const asked = scripted(SILENT).client.models({ signal: ending.signal });
  ending.abort(new Error("enough"));
  await assert.rejects(asked, /enough/);
});

test("an answer of something else is said", async () => {
  for (const body of ["<html>", "[]", "{}"]) {
    await assert.rejects(scripted(() => new Response(body)).client.predict("m", []), { kind: "upstream_unavailable" });
  }
});

test("requests that cannot be", async () => {
  assert.throws(() => new Client("ftp://host"), { kind: "invalid_input", field: "url" });
  await assert.rejects(scripted().client.record(".."), { kind: "invalid_input" });
  await assert.rejects(scripted().client.models({ routeKey: "a\nb" }), { field: "penstock-route-key" });
});

test("an option that nobody knows is refused by its name, and nothing is sent", async () => {
  const { client, sent } = scripted();
  /** @type {any} */
  const wrong = { timeout: 3 };
  const named = { name: "TypeError", message: /^options\.timeout: no such option; did you mean timeoutMs\?$/ };
  const inputs = {};
  /** @type {(() => Promise<unknown>)[]} */
  const verbs = [
    () => client.predict("m", [], wrong),
    () => client.predictBody("m", "", "text/csv", wrong),
    () => client.predictRecord("a", wrong),
    () => client.predictMany("m", [{}], wrong).next(),
    () => client.infer("m", inputs, wrong),
    () => client.metadata("m", wrong),
    () => client.models(wrong),
    () => client.record("a", wrong),
    () => client.createRecord({}, wrong),
    () => client.putRecord("a", {}, wrong),
    () => client.deleteRecord("a", wrong),
    () => client.records(wrong),
    () => client.importRecords("", wrong),
    () => client.submit("m", [], wrong),
    () => client.prediction("a", wrong),
    () => client.cancel("a", wrong),
    () => client.wait("a", wrong),
    () => new Stream(/** @type {any} */ ({ url: "", headers: {} }), "", class {}).infer(inputs, wrong),
  ];
  for (const verb of verbs) await assert.rejects(verb(), named, String(verb));
  assert.equal(sent.length, 0);
  assert.throws(() => new Client("host", wrong), named);
  const retry = { name: "TypeError", message: /^options\.retry\.tries: no such option; expected attempts, baseMs, maxWaitMs$/ };
  assert.throws(() => new Client("host", { retry: /** @type {any} */ ({ tries: 2 }) }), retry);
  assert.throws(() => client.stream("m", wrong), TypeError);
  // @ts-expect-error an option of another verb
  await assert.rejects(client.models({ model: "m" }), { name: "TypeError", message: /^options\.model: / });
  // @ts-expect-error an option of Python's client
  await assert.rejects(client.predict("m", [], { timeout_ms: 3 }), { message: /did you mean timeoutMs/ });
  await assert.rejects(client.predict("m", [], /** @type {any} */ (null)), { message: "options: expected an object, got null" });
});

test("every option that there is may be given", async () => {
  const { client } = scripted(PREDICTED, PREDICTED);
  const every = { timeoutMs: 900, priority: 1, routeKey: "k", expectBundle: "sha256:0", requestId: "r", traceparent: "00" };
  await client.predict("m", [{}], { ...every, signal: new AbortController().signal, data: false });
  await client.predictRecord("a", { ...every, model: "m", data: true });
});

test("a submission keeps its key, and is waited for", async () => {
  const state = (/** @type {string} */ name) => () => Response.json({ id: "p", state: name, result: { predictions: [{}] } });
  const { client, sent } = scripted(LOST, state("starting"), state("processing"), state("succeeded"));
  assert.equal((await client.submit("m", [{}])).done, false);
  assert.equal(sent[0]?.init.headers["idempotency-key"], sent[1]?.init.headers["idempotency-key"]);
  assert.equal((await client.wait("p")).predictions.length, 1);
  await assert.rejects(scripted(state("starting")).client.wait("p", { timeoutMs: 0 }), { kind: "deadline_exceeded" });
});

test("no wait ends behind the deadline", () => {
  for (let seed = 0; seed < 2000; seed += 1) {
    let now = 0;
    const deadline = (seed * 37) % 700;
    const attempts = new Attempts({}, { baseMs: 40, attempts: 6 }, deadline, () => now, () => (seed % 10) / 10);
    try {
      for (let at = 0; ; at += 1) {
        attempts.headers();
        assert.ok(attempts.made <= 6);
        now += (seed * 13 + at) % 50;
        const header = (/** @type {string} */ name) => (name === "retry-after-ms" && at % 2 ? String((seed * 7) % 300) : null);
        const wait = attempts.answered({ status: at % 3 ? 429 : 503, header, body: new Uint8Array() });
        assert.ok(wait !== null && now + wait < deadline);
        now += wait;
      }
    } catch (error) {
      assert.ok(error instanceof PenstockError, String(error));
    }
  }
});
