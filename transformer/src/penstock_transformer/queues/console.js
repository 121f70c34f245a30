// The console of the queues: figures as they come, dead letters, and what an operator does with them.
//
//   GET /queues/events --fetch, with the key--> document --show--> the page, changed in place so that no focus is lost
//   GET /queues/{model}/dead-letters, again when the figures say that something changed
//
// Everything is put into the page as text; nothing that a record says is ever read as HTML.

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15000;
const SHOWN_BYTES = 4096;
const LIMIT = 100;

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const decimals = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

let key = "";
let shown = { model: null, stamp: "", reasons: "" };
let connection = null;

// --- asking

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path, options = {}) {
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

// --- figures, as they come

async function follow() {
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    connection = new AbortController();
    try {
      const answer = await ask("/queues/events", { signal: connection.signal });
      signIn(null);
      for await (const data of events(answer.body)) {
        pause = FIRST_PAUSE_MS;
        show(JSON.parse(data));
      }
      state("away", "The server has ended the connection; trying again …");
    } catch (error) {
      if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
        state("away", "Not signed in.");
        await signedIn(error);
        continue;
      }
      if (error.name !== "AbortError") state("away", `The server cannot be reached; trying again … (${error.message})`);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(LONGEST_PAUSE_MS, pause * 2);
  }
}

// The data of server-sent events in a stream of bytes (WHATWG HTML, 9.2); ours have one line of data each.
async function* events(stream) {
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

function signIn(error) {
  $("sign-in").hidden = error === null;
  if (error === null) return;
  $("sign-in-why").textContent = error.status === 403 ? `This key may not see the queues: ${error.message}` : "This server asks for a key.";
}

function signedIn(error) {
  const again = key !== "";
  signIn(error);
  if (again) say(`Not signed in: ${error.message}`);
  $("key").focus();
  return new Promise((resolve) => {
    $("sign-in-form").addEventListener("submit", (event) => {
      event.preventDefault();
      key = $("key").value.trim();
      $("key").value = "";
      resolve();
    }, { once: true });
  });
}

// --- showing

function show(queues) {
  const broker = queues.broker;
  const age = broker && broker.figures_age_s;
  if (broker === null) state("up", "Live; without a broker.");
  else if (broker.state === "up") state("up", "Live.");
  else if (broker.state === "starting") state("", "Asking the broker …");
  else state("away", `The broker is away; these figures are ${age === null ? "not there yet" : `${duration(age)} old`}.`);
  text($("broker-message"), broker && broker.state === "away" ? `The broker does not answer: ${broker.message}` : "");
  $("topics").hidden = broker === null;
  rows($("models"), queues.models, (model) => model.model, makeModel, updateModel);
  showDatabase(queues);
  showWorker(queues.worker);
  const model = queues.models.find((one) => one.dead_letters);
  $("letters").hidden = model === undefined;
  if (model) showLetters(model);
}

function state(kind, words) {
  // Said when it goes, and when it comes back; not with each second that passes meanwhile.
  if ((kind === "away") !== $("state").classList.contains("away")) say(words);
  $("state").className = `state ${kind}`;
  text($("state"), words);
}

function makeModel(model) {
  const caption = make("caption", { id: `caption-${model.model}` });
  const heads = ["Topic", "Lag", "Oldest waiting", "In per second", "Out per second", "Kept, about"];
  const head = make("tr", {}, ...heads.map((name, at) => make("th", { scope: "col", className: at ? "number" : "" }, name)));
  const table = make("table", {}, caption, make("thead", {}, head), make("tbody", {}));
  const wide = make("div", { className: "wide", tabIndex: 0 }, table);
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-labelledby", caption.id);
  return make("div", {}, wide, make("div", { className: "partitions" }), make("p", { className: "warning", hidden: true }));
}

function updateModel(element, model) {
  const group = (model.topics.find((topic) => topic.role === "requests") || {}).group;
  text(element.querySelector("caption"), `Model ${model.model}${group ? `, read by the group ${group}` : ""}`);
  rows(element.querySelector("tbody"), model.topics, (topic) => topic.topic, makeCells("th", 5), (row, topic) => {
    cells(row, [topic.topic, count(topic.lag_records), seconds(topic.lag_s), rate(topic.rate_in), rate(topic.rate_out), number.format(topic.records)]);
    row.children[1].classList.toggle("behind", topic.lag_records > 0);
  });
  const several = model.topics.filter((topic) => topic.partitions.length > 1);
  rows(element.querySelector(".partitions"), several, (topic) => topic.topic, makePartitions, updatePartitions);
  const missing = model.missing.length ? `These topics do not exist: ${model.missing.join(", ")}` : "";
  text(element.querySelector(".warning"), missing);
}

function makePartitions(topic) {
  const name = `${topic.topic}: ${topic.partitions.length} partitions`;
  const heads = ["Partition", "Lag", "Oldest waiting", "In per second", "Out per second", "Next to read", "End"];
  const head = make("tr", {}, ...heads.map((one, at) => make("th", { scope: "col", className: at ? "number" : "" }, one)));
  const table = make("table", {}, make("caption", { className: "unseen" }, name), make("thead", {}, head), make("tbody", {}));
  const wide = make("div", { className: "wide", tabIndex: 0 }, table);
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-label", name);
  return make("details", {}, make("summary", {}, name), wide);
}

function updatePartitions(element, topic) {
  rows(element.querySelector("tbody"), topic.partitions, (one) => one.partition, makeCells("th", 6), (row, one) => {
    const values = [one.partition, count(one.lag_records), seconds(one.lag_s), rate(one.rate_in), rate(one.rate_out), count(one.committed), count(one.end)];
    cells(row, values);
    row.children[1].classList.toggle("behind", one.lag_records > 0);
  });
}

function showDatabase(queues) {
  $("database").hidden = queues.database === null && queues.database_message === null;
  text($("database-message"), queues.database_message ? `The database does not answer: ${queues.database_message}` : "");
  rows($("backlogs"), queues.database || [], (one) => one.model, makeCells("th", 3), (row, one) => {
    cells(row, [one.model, count(one.waiting), count(one.processing), seconds(one.oldest_s)]);
  });
}

function showWorker(worker) {
  $("worker").hidden = worker === null;
  if (worker === null) return;
  const named = (counts) => Object.entries(counts).map(([name, many]) => `${name} ${number.format(many)}`).join(", ") || "none";
  facts($("worker-figures"), {
    "In flight": `${number.format(worker.in_flight)} of ${number.format(worker.held)} held records`,
    "Oldest held": seconds(worker.oldest_s),
    Predictions: number.format(worker.predictions),
    "Dead letters": named(worker.dead_letters),
    Transactions: number.format(worker.transactions),
    "Aborted transactions": named(worker.aborts),
    Rebalances: number.format(worker.rebalances),
    Partitions: worker.partitions.join(", ") || "none",
  });
}

// --- dead letters

function showLetters(model) {
  const figures = model.dead_letters;
  const counted = Object.entries(figures.reasons).map(([reason, many]) => `${number.format(many)} ${reason}`).join(", ");
  const parts = [`${number.format(figures.waiting)} waiting`, `${number.format(figures.replayed)} replayed`, `${number.format(figures.dropped)} dropped`];
  text($("letters-summary"), `${parts.join(", ")}${counted ? ` (${counted})` : ""}${figures.counted ? "." : "; still counting."}`);
  const reasons = Object.keys(figures.reasons).sort().join();
  if (reasons !== shown.reasons) {
    const chosen = $("reason").value;
    const options = reasons.split(",").filter(Boolean).map((reason) => make("option", { value: reason }, reason));
    $("reason").replaceChildren(make("option", { value: "" }, "any"), ...options);
    $("reason").value = reasons.split(",").includes(chosen) ? chosen : "";
  }
  const ends = (model.topics.find((topic) => topic.role === "dead-letters") || { partitions: [] }).partitions;
  const stamp = JSON.stringify([model.model, figures, ends.map((one) => [one.first, one.end])]);
  const changed = stamp !== shown.stamp;
  shown = { model: model.model, stamp, reasons };
  if (changed) list();
}

let listing = 0;

async function list() {
  const mine = ++listing;
  const query = new URLSearchParams({ limit: LIMIT, done: $("done").checked });
  if ($("reason").value) query.set("reason", $("reason").value);
  try {
    const found = await (await ask(`/queues/${encodeURIComponent(shown.model)}/dead-letters?${query}`)).json();
    if (mine !== listing) return;
    const focused = $("letter-rows").contains(document.activeElement) ? document.activeElement : null;
    rows($("letter-rows"), found.dead_letters, (row) => placeOf(row.letter), makeLetter, updateLetter);
    // What had the focus may be gone with its row, or hidden: reading then goes on from the heading.
    if (focused && (!focused.isConnected || focused.hidden)) $("letters-heading").focus();
    $("letters-none").hidden = found.dead_letters.length > 0;
    $("letters-table").hidden = found.dead_letters.length === 0;
    text($("letters-more"), found.more ? `There are more than these ${LIMIT}; penstock dead-letters list has all of them.` : "");
  } catch (error) {
    if (mine === listing) say(`The dead letters cannot be listed: ${error.message}`);
  }
}

function makeLetter({ letter }) {
  const name = `dead letter ${placeOf(letter)}`;
  const action = (words, act) => {
    const button = make("button", { type: "button" }, words);
    button.setAttribute("aria-label", `${words} ${name}`);
    button.addEventListener("click", () => act(letter));
    return button;
  };
  const when = new Date(letter.failed_s * 1000);
  const time = make("time", { dateTime: when.toISOString() }, when.toLocaleString("en", { dateStyle: "medium", timeStyle: "medium" }));
  const wrong = [letter.field, letter.message].filter(Boolean).join(": ");
  return make("tr", { role: "row" },
    make("td", { className: "time", role: "cell" }, time),
    make("td", { role: "cell" }, letter.reason),
    make("th", { scope: "row", className: "id", role: "rowheader" }, letter.id),
    make("td", { className: "place", role: "cell" }, placeOf(letter)),
    make("td", { className: "why", role: "cell" }, wrong),
    make("td", { className: "actions", role: "cell" }, action("Show", look), action("Replay", replay), action("Drop", drop)));
}

function updateLetter(row, { letter, done }) {
  row.classList.toggle("settled", done !== null);
  const [, again, away] = row.querySelectorAll("button");
  again.hidden = done !== null || letter.omitted.length > 0;
  away.hidden = done !== null;
  text(row.children[1], done === null ? letter.reason : `${letter.reason} (${done})`);
}

const placeOf = (letter) => `${letter.partition}/${letter.offset}`;
const pathOf = (letter) => `/queues/${encodeURIComponent(shown.model)}/dead-letters/${letter.partition}/${letter.offset}`;

const replay = (letter) => settle(letter, "replay", "Replay",
  "The original goes back into the requests, as it was, and is predicted anew. This can be done once.");
const drop = (letter) => settle(letter, "drop", "Drop",
  "It is taken off this list and cannot be replayed any more. The topic keeps the record for as long as it keeps anything.");

async function settle(letter, verb, words, explanation) {
  if (!(await confirmed(letter, words, explanation))) return;
  say(`${words} of ${placeOf(letter)} is under way …`);
  try {
    const options = { method: "POST", headers: { "content-type": "application/json" }, body: "{}" };
    const done = await (await ask(`${pathOf(letter)}:${verb}`, options)).json();
    say(`Dead letter ${placeOf(letter)} was ${done.done}.`);
    await list();
  } catch (error) {
    say(`Dead letter ${placeOf(letter)} was not seen to: ${error.message}`);
    list();
  }
}

function confirmed(letter, words, explanation) {
  const dialog = $("confirm");
  text($("confirm-heading"), `${words} dead letter ${placeOf(letter)}?`);
  text($("confirm-text"), explanation);
  facts($("confirm-facts"), { Id: letter.id, Reason: letter.reason, Request: letter.request });
  text($("confirm-yes"), words);
  dialog.returnValue = "no";
  dialog.showModal();
  $("confirm-no").focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

async function look(letter) {
  const dialog = $("whole");
  text($("whole-heading"), `Dead letter ${placeOf(letter)}`);
  facts($("whole-facts"), { Id: letter.id, Reason: letter.reason, Request: letter.request, Attempts: letter.attempts });
  text($("value"), "");
  text($("value-note"), "Reading …");
  $("value-download").hidden = true;
  dialog.showModal();
  $("whole-heading").focus();
  try {
    const whole = await (await ask(pathOf(letter))).json();
    const bytes = new Uint8Array(await (await ask(`${pathOf(letter)}/value`)).arrayBuffer());
    const headers = whole.headers.map(([name, value, raw]) => `${name}: ${value ?? `(base64) ${raw}`}`).join("\n");
    facts($("whole-facts"), {
      Id: whole.id, Reason: whole.reason, "What was wrong": whole.message, Field: whole.field ?? "-", Request: whole.request,
      Attempts: whole.attempts, Key: whole.key ?? (whole.key_base64 === null ? "-" : `(base64) ${whole.key_base64}`),
      Headers: headers || "-", "Left out": whole.omitted.join(", ") || "-",
    });
    showValue(letter, bytes);
  } catch (error) {
    text($("value-note"), `It cannot be shown: ${error.message}`);
  }
}

function showValue(letter, bytes) {
  const part = bytes.subarray(0, SHOWN_BYTES);
  let words;
  try {
    words = new TextDecoder("utf-8", { fatal: true }).decode(part, { stream: bytes.length > SHOWN_BYTES });
  } catch {
    words = Array.from(part.subarray(0, 512), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  }
  text($("value"), words);
  text($("value-note"), `${number.format(bytes.length)} bytes${bytes.length > part.length ? ", of which the first are shown" : ""}.`);
  const link = $("value-download");
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  link.download = `${shown.model}-${letter.partition}-${letter.offset}.bin`;
  link.hidden = bytes.length === 0;
}

// --- pieces of the page

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Text that has not changed is not put in again: it would be read out again.
function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
  if (element.classList.contains("warning") || element.id === "letters-more") element.hidden = !words;
}

function say(words) {
  text($("said"), words);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => text($("said"), ""), 12000);
}

// Children for items, by key: those that are there are updated and stay, so that focus and open details stay with them.
function rows(parent, items, keyOf, makeOne, update) {
  const known = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
  let before = parent.firstElementChild;
  for (const item of items) {
    const name = String(keyOf(item));
    let child = known.get(name);
    known.delete(name);
    if (child === undefined) {
      child = makeOne(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === before) before = before.nextElementSibling;
    else parent.insertBefore(child, before);
  }
  for (const child of known.values()) child.remove();
}

function makeCells(first, others) {
  const head = () => make(first, first === "th" ? { scope: "row" } : {});
  return () => make("tr", {}, head(), ...Array.from({ length: others }, () => make("td", { className: "number" })));
}

function cells(row, values) {
  values.forEach((value, at) => text(row.children[at], String(value)));
}

function facts(list, named) {
  rows(list, Object.entries(named).flatMap(([name, value]) => [["dt", name, name], ["dd", name, String(value)]]),
    ([tag, name]) => `${tag} ${name}`, ([tag]) => make(tag, {}), (element, [, , words]) => text(element, words));
}

const count = (value) => (value === null ? "-" : number.format(value));
const rate = (value) => (value === null ? "-" : decimals.format(value));
const seconds = (value) => (value === null ? "-" : duration(value));

function duration(value) {
  if (value < 100) return `${decimals.format(value)} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 100) return `${minutes} min ${Math.floor(value % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

$("filter").addEventListener("change", list);
$("filter").addEventListener("submit", (event) => event.preventDefault());
addEventListener("pagehide", () => connection?.abort());
follow();
