// The console of the queues: figures as they come, dead letters, and what an operator does with them.
//
//   GET /queues/events --fetch, with the key--> document --show--> the page, changed in place so that no focus is lost
//                                                           +----> the dead letters (letters.js)

import { showLetters } from "./queues/letters.js";
import { $, cells, count, duration, facts, make, makeCells, number, rate, rows, say, seconds, text } from "./queues/page.js";
import { Refused, ask, events, hasKey, useKey } from "./queues/server.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15000;

let connection = null;
let keyGiven = () => {};

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
      // Another key was given meanwhile: whatever became of the last one, this one is to be tried.
      if (connection.signal.aborted) continue;
      if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
        state("away", "Not signed in.");
        await signedIn(error);
        continue;
      }
      state("away", `The server cannot be reached; trying again … (${error.message})`);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(LONGEST_PAUSE_MS, pause * 2);
  }
}

function signIn(error) {
  $("sign-in").hidden = error === null;
  if (error === null) return;
  $("sign-in-why").textContent = error.status === 403 ? `This key may not see the queues: ${error.message}` : "This server asks for a key.";
}

function signedIn(error) {
  const again = hasKey();
  signIn(error);
  if (again) say(`Not signed in: ${error.message}`);
  $("key").focus();
  return new Promise((resolve) => { keyGiven = resolve; });
}

// Heard at all times, also while a key is being tried: a form that nobody hears loads the page anew, and the key is gone.
function submitted(event) {
  event.preventDefault();
  useKey($("key").value.trim());
  $("key").value = "";
  connection.abort();
  keyGiven();
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
  const backlogs = queues.database || [];
  $("database-table").hidden = backlogs.length === 0;
  $("database-idle").hidden = backlogs.length > 0 || queues.database_message !== null;
  rows($("backlogs"), backlogs, (one) => one.model, makeCells("th", 3), (row, one) => {
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

addEventListener("pagehide", () => connection?.abort());
$("sign-in-form").addEventListener("submit", submitted);
follow();
