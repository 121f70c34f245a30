// A user's TypeScript against the package's types; it is checked, not run.

import { Client, PenstockError, tensor } from "penstock-client";
import type { ErrorKind, Inference, Prediction, Predictions, Tensor } from "penstock-client";

const client = new Client("http://127.0.0.1:8080", { timeoutMs: 1000, retry: { attempts: 2 }, token: "t" });

export async function all(file: File, signal: AbortSignal): Promise<void> {
  const found: Predictions = await client.predict("flights", [{ distance: 500 }], { signal, priority: 1 });
  const label: string | null | undefined = found.predictions[0]?.label;
  const image = await client.predictBody("digits", file);
  const record: Predictions = await client.predictRecord("a/b", { model: "flights" });
  for await (const one of client.predictMany("flights", [{ distance: 1 }], { rowsPerRequest: 10 })) {
    if ("error" in one) continue;
    const prediction: Prediction = one;
    console.log(prediction.scores?.late?.toFixed(2), label, image.bundle, record.record);
  }
  const x: Tensor = tensor(BigInt64Array.of(1n), [1, 1]);
  const inference: Inference = await client.infer("plain", { x, half: tensor(Uint16Array.of(0), [1], "FP16") });
  const data = inference.outputs.y?.data;
  if (data instanceof Float32Array) console.log(data[0]);
  const stream = client.stream("plain");
  await stream.infer({ x }, { timeoutMs: 100 });
  stream.close();
  const submitted = await client.submit("flights", [{ distance: 1 }], { idempotencyKey: "k" });
  const ended = await client.wait(submitted.id, { timeoutMs: 1000, signal });
  const state: "starting" | "processing" | "succeeded" | "failed" | "canceled" = ended.state;
  console.log(state);
  try {
    await client.record("a");
  } catch (error) {
    if (error instanceof PenstockError) {
      const kind: ErrorKind = error.kind;
      console.log(kind, error.field, error.requestId);
    }
  }
}

// @ts-expect-error a stream has no id of its own: answers are matched by it
void client.stream("m").infer({}, { id: "1" });
// @ts-expect-error numbers need a typed array, which says what they are
tensor([1, 2, 3]);
// @ts-expect-error a misspelt option
void client.predict("m", [], { timeout: 3 });
