// What the page says to its server: with the key, which stays in this module's memory, and nothing else of this browser's.
//
//   ask(path) --> the answer, or Refused          events(its body) --> the data of one event after the other

let key = "";

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(key ? { authorization: `Bearer ${key}` } : {}) };
  const answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  if (answer.ok) return answer;
  let detail = `The server answered ${answer.status}.`;
  try {
    detail = (await answer.json()).detail || detail;
  } catch {
    // Not ours; the status says enough.
  }
  throw new Refused(answer.status, detail);
}

/** Ask with this key from now on. */
export function useKey(given) {
  key = given;
}

export const hasKey = () => key !== "";

// The data of server-sent events in a stream of bytes (WHATWG HTML, 9.2); ours have one line of data each.
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const line = block.split("\n").find((one) => one.startsWith("data: "));
      if (line) yield line.slice(6);
    }
  }
}
