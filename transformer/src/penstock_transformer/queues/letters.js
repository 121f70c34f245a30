// The dead letters: listed anew when the figures say that something changed, looked into, replayed and dropped.
//
//   showLetters(figures) --changed--> GET /queues/{model}/dead-letters --> the rows --a button--> replay, drop, look

import { $, facts, make, number, rows, say, text } from "./page.js";
import { ask } from "./server.js";

const SHOWN_BYTES = 4096;
const LIMIT = 100;

let shown = { model: null, stamp: "", reasons: "" };

export function showLetters(model) {
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

$("filter").addEventListener("change", list);
$("filter").addEventListener("submit", (event) => event.preventDefault());
