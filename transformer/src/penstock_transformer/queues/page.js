// Pieces of the page, made and changed in place, and the words for figures.
//
// Everything is put into the page as text; nothing that a record says is ever read as HTML.

export const $ = (id) => document.getElementById(id);
export const number = new Intl.NumberFormat("en");
const decimals = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Text that has not changed is not put in again: it would be read out again.
export function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
  if (element.classList.contains("warning") || element.id === "letters-more") element.hidden = !words;
}

export function say(words) {
  text($("said"), words);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => text($("said"), ""), 12000);
}

// Children for items, by key: those that are there are updated and stay, so that focus and open details stay with them.
export function rows(parent, items, keyOf, makeOne, update) {
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

export function makeCells(first, others) {
  const head = () => make(first, first === "th" ? { scope: "row" } : {});
  return () => make("tr", {}, head(), ...Array.from({ length: others }, () => make("td", { className: "number" })));
}

export function cells(row, values) {
  values.forEach((value, at) => text(row.children[at], String(value)));
}

export function facts(list, named) {
  rows(list, Object.entries(named).flatMap(([name, value]) => [["dt", name, name], ["dd", name, String(value)]]),
    ([tag, name]) => `${tag} ${name}`, ([tag]) => make(tag, {}), (element, [, , words]) => text(element, words));
}

export const count = (value) => (value === null ? "-" : number.format(value));
export const rate = (value) => (value === null ? "-" : decimals.format(value));
export const seconds = (value) => (value === null ? "-" : duration(value));

export function duration(value) {
  if (value < 100) return `${decimals.format(value)} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 100) return `${minutes} min ${Math.floor(value % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
