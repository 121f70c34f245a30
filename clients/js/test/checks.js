// What the client does with a real server: the same checks run in Node and, by page.html, in a browser.

import { PenstockError, tensor } from "../src/index.js";

/** @typedef {import("../src/index.js").Client} Client */

/** @typedef {(found: unknown, expected: unknown) => void} Equal */

const ROW = { distance: 500, carrier: "UA" };

/**
 * @param {Promise<unknown>} asked
 * @returns {Promise<PenstockError>}
 */
async function failure(asked) {
  try {
    await asked;
  } catch (error) {
    if (error instanceof PenstockError) return error;
    throw error;
  }
  throw new Error("expected it to fail");
}

/**
 * A client of the server, with these options beside those that every one of them has.
 * @typedef {(options?: import("../src/index.js").ClientOptions) => Client} Connect
 */

/** @type {Record<string, (connect: Connect, equal: Equal) => Promise<void>>} */
export const checks = {
  async rows(connect, equal) {
    const client = connect();
    const found = await client.predict("flights", [ROW, { distance: 2 }], { requestId: "mine", timeoutMs: 9000 });
    equal([found.model, found.requestId, found.predictions.length], ["flights", "mine", 2]);
    equal(found.predictions[0]?.bundle, found.bundle);
    equal(found.predictions[0]?.data?.carrier, "UA");
    const csv = await client.predictBody("flights", "distance,carrier\n500,UA\n", "text/csv");
    equal(csv.predictions[0]?.scores, found.predictions[0]?.scores);
    const lean = await client.predict("flights", [ROW], { data: false, expectBundle: found.bundle });
    equal(lean.predictions[0]?.data, undefined);
  },

  async manyRows(connect, equal) {
    async function* rows() {
      for (let at = 0; at < 23; at += 1) yield { distance: at };
    }
    const client = connect();
    const distances = [];
    for await (const found of client.predictMany("flights", rows(), { rowsPerRequest: 5, data: true })) {
      distances.push("error" in found ? found.error : found.data?.distance);
    }
    equal(distances, Array.from({ length: 23 }, (_, at) => at));
    const outcomes = [];
    for await (const found of client.predictMany("flights", [ROW, ROW, { distance: "far" }, ROW], { rowsPerRequest: 2 })) {
      outcomes.push("error" in found ? [found.row, found.error.kind] : found.bundle.split("@")[0]);
    }
    equal(outcomes, ["flights", "flights", [2, "invalid_input"], "flights"]);
    const nobody = client.predictMany("nobody", [ROW, ROW], { rowsPerRequest: 1 });
    equal((await failure(nobody.next())).kind, "not_found");
  },

  async records(connect, equal) {
    const client = connect();
    const model = "flights";
    const id = `js/${Math.random()}`;
    const made = await client.createRecord({ distance: 1.5, carrier: "é" }, { id, model, eventTime: new Date(1.6e12) });
    equal([made.id, made.values.carrier], [id, "é"]);
    equal(await client.record(id, { model }), made);
    equal((await client.predictRecord(id, { model })).record?.carrier, "é");
    equal((await client.putRecord(id, { distance: 2 }, { model })).values.carrier, null);
    equal((await failure(client.putRecord(id, {}, { model, eventTime: new Date(0) }))).kind, "conflict");
    const report = await client.importRecords(`flight_id,distance\n${id}2,1\nb,far\n`, { model });
    equal([report.written, report.refused, report.rejected[0]?.field], [1, 1, "rows[1].distance"]);
    const ids = [];
    for (let cursor; cursor !== null; ) {
      const page = await client.records({ model, limit: 1, ...(cursor === undefined ? {} : { cursor }) });
      ids.push(...page.records.map((record) => record.id));
      cursor = page.cursor;
    }
    equal([id, `${id}2`].every((one) => ids.includes(one)), true);
    for (const one of [id, `${id}2`]) await client.deleteRecord(one, { model });
    equal((await failure(client.record(id, { model }))).field, "record_id");
  },

  async later(connect, equal) {
    const client = connect();
    const key = `js ${Math.random()}`;
    const submitted = await client.submit("flights", [ROW, { distance: 2 }], { idempotencyKey: key });
    equal((await client.submit("flights", [ROW, { distance: 2 }], { idempotencyKey: key })).id, submitted.id);
    const ended = await client.wait(submitted.id, { timeoutMs: 30_000 });
    equal([ended.state, ended.done, ended.predictions.length], ["succeeded", true, 2]);
    const now = await client.predict("flights", [ROW, { distance: 2 }]);
    equal([ended.bundle, ended.predictions[0]?.label], [now.bundle, now.predictions[0]?.label]);
    equal((await client.cancel(submitted.id)).state, "succeeded");
    const page = await client.predictions({ model: "flights", state: "succeeded", after: new Date(Date.now() - 60_000), limit: 1 });
    equal([page.predictions[0]?.done, page.predictions.length], [true, 1]);
    equal((await client.predict("flights", Array(1001).fill(ROW))).predictions.length, 1001);
    equal((await failure(client.prediction("nobody"))).kind, "not_found");
  },

  async tensors(connect, equal) {
    const client = connect();
    const inputs = {
      distance: tensor(Float32Array.of(500, 2)),
      carrier: tensor(["UA", "ü"]),
      stops: tensor(Int32Array.of(1, 0)),
      leaves: tensor(Float64Array.of(60, 3600)),
    };
    const binary = await client.infer("flights", inputs, { outputs: ["late"], id: "i", version: "1" });
    const json = await client.infer("flights", inputs, { binary: false });
    equal([binary.id, binary.version, binary.outputs.late?.shape], ["i", "1", [2, 1]]);
    equal(binary.outputs.late, json.outputs.late);
    equal([binary.bundle.startsWith("flights@sha256:"), binary.bundle], [true, json.bundle]);
    const encoded = await client.infer("flights", { x: tensor(new Float32Array(6), [1, 6]) }, { parameters: { encoded: true } });
    equal(encoded.outputs.late?.data, Float32Array.of(0.5));
  },

  async metadata(connect, equal) {
    const client = connect();
    equal((await client.models()).includes("flights"), true);
    const found = await client.metadata("flights", { version: "1" });
    equal(found.inputs.find((input) => input.name === "carrier")?.datatype, "BYTES");
  },

  async errors(connect, equal) {
    const client = connect();
    const missing = await failure(client.predict("flights", [{ carrier: "UA" }], { requestId: "r7" }));
    equal([missing.kind, missing.field, missing.status, missing.requestId], ["invalid_input", "rows[0].distance", 400, "r7"]);
    const shape = await failure(client.infer("flights", { distance: tensor(new Float32Array(2), [1, 2]) }));
    equal([shape.kind, shape.field], ["invalid_input", "inputs[0].shape"]);
    equal((await failure(client.metadata("nobody"))).kind, "not_found");
    const other = await failure(client.predict("flights", [ROW], { expectBundle: `sha256:${"0".repeat(64)}` }));
    equal(other.kind, "wrong_bundle");
    equal((await failure(client.models({ timeoutMs: 0 }))).kind, "deadline_exceeded");
  },

  async stream(connect, equal) {
    const client = connect();
    const stream = client.stream("flights");
    try {
      const count = 400; // more than the server's credit
      const asked = Array.from({ length: count }, (_, at) =>
        stream.infer({ distance: tensor(Float32Array.of(at)) }, { binary: at % 2 === 0, timeoutMs: 20_000 }),
      );
      const found = await Promise.all(asked);
      const all = await client.infer("flights", { distance: tensor(Float32Array.from({ length: count }, (_, at) => at)) });
      equal(found.map((one) => Number(one.outputs.late?.data[0])), [.../** @type {any} */ (all.outputs.late?.data)]);
      equal([...new Set(found.map((one) => one.bundle))], [all.bundle]);
      const [good, bad] = await Promise.all([
        stream.infer({ distance: tensor(Float32Array.of(1)) }, { priority: 1, requestId: "s1" }),
        failure(stream.infer({ distance: tensor(new Float32Array(2), [1, 2]) })),
      ]);
      equal([good.requestId, bad.kind, bad.field], ["s1", "invalid_input", "inputs[0].shape"]);
    } finally {
      stream.close();
    }
    equal((await failure(stream.infer({ distance: tensor(Float32Array.of(1)) }))).kind, "cancelled");
  },

  async streamOfNobody(connect, equal) {
    const stream = connect({ retry: { attempts: 2, baseMs: 1 } }).stream("nobody");
    equal((await failure(stream.infer({ x: tensor(Float32Array.of(1)) }))).kind, "upstream_unavailable");
    stream.close();
  },
};
