// The page: reads the address, asks the service, shows lists and reasons, and measures how long a change takes.

import { entriesOf, personOf, questionOf, shownOf, stranger } from "./asker.js";
import { get, isAbort, post } from "./ask.js";
import { chooser } from "./chooser.js";
import { context, models, titled } from "./controls.js";
import { button, counted, fill, make } from "./dom.js";
import { save } from "./export.js";
import { showPast } from "./past.js";
import { movesOf, showList } from "./ranked.js";
import { alarm, calm, say } from "./said.js";
import { nobody, read, write } from "./state.js";
import { whyOf, withoutTitle } from "./why.js";

const FEW_MEASURES = 3, FEW_REASONS = 20, ALL_REASONS = 1000;
const place = (id) => document.getElementById(id);
const titles = new Map(); // items by id as text: {item, title}
const views = new Map(); // what is shown of each model, by its name
let state = read(), served = [], person = stranger(), edits = [], turn = new AbortController();

const factsOf = (name) => served.find((one) => one.name === name);
const shownNames = () => [state.model, state.beside].filter(Boolean);
const viewOf = (name) => {
  if (!views.has(name)) views.set(name, { answer: null, before: null, error: null, note: "", asker: null, sentences: new Map(), why: null, place: make("section", { class: "card list" }) });
  return views.get(name);
};
const itemOf = (id) => titles.get(id) ?? { item: id, title: id };
const entries = () => entriesOf(state, person, itemOf);
const placesOf = (answer) => answer && new Map(answer.items.map((one) => [String(one.item), one]));
const fail = (error) => alarm(error, start);

// ---- asking

async function rank(name, signal, isEdit) {
  const view = viewOf(name);
  const { path, body, hidden, asker, note } = questionOf(factsOf(name), state, person, entries());
  try {
    const answer = await post(path, body, signal);
    view.before = isEdit ? placesOf(view.answer) : null;
    const reasoner = answer.way === "popular" ? { history: [] } : asker; // who is not known by name here has no other reason
    Object.assign(view, { answer: { ...answer, items: shownOf(answer.items, hidden) }, error: null, asker: reasoner, note, sentences: new Map() });
    for (const { item, title } of answer.items) titles.set(String(item), { item, title });
  } catch (error) {
    if (isAbort(error)) throw error;
    Object.assign(view, { answer: null, before: null, error: error.message, asker: null, note: "", why: null });
  }
}

/** Ask for the lists anew, show them, and say how long it took and what moved. */
async function refresh({ words = "", isEdit = false, began = performance.now() } = {}) {
  turn.abort();
  const { signal } = (turn = new AbortController());
  if (isEdit) calm();
  try {
    await Promise.all(shownNames().map((name) => rank(name, signal, isEdit)));
  } catch (error) {
    if (!isAbort(error)) throw error;
    return;
  }
  if (!isEdit) for (const name of shownNames()) viewOf(name).why = null;
  show();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const milliseconds = Math.round(performance.now() - began);
  const moves = shownNames().map((name) => [name, viewOf(name)]).filter(([, view]) => view.before && view.answer)
    .map(([name, view]) => `${name}: ${movesOf(view.answer.items, view.before)}`);
  if (!signal.aborted) say([words, moves.length ? `${moves.join("; ")}.` : "", isEdit ? `Re-ranked in ${milliseconds} ms.` : `Ranked in ${milliseconds} ms.`].filter(Boolean).join(" "));
  await reasons(signal);
}

/** The reasons of the item that is looked at, then a sentence for each item of the lists. */
async function reasons(signal) {
  await explainChosen(signal);
  const rows = shownNames().flatMap((name) => (viewOf(name).answer?.items ?? []).map((one) => ({ name, one })));
  rows.sort((one, other) => one.one.rank - other.one.rank);
  for (const row of rows) if (!signal.aborted) await sentence(row, signal); // in turn: a change must find a free thread
}

async function sentence({ name, one }, signal) {
  const view = viewOf(name), id = String(one.item);
  try {
    const why = await post("/api/explain", { model: name, item: one.item, top: FEW_REASONS, ...view.asker }, signal);
    view.sentences.set(id, withoutTitle(why.sentence, why.title));
  } catch (error) {
    if (isAbort(error)) return;
    view.sentences.set(id, `No reasons: ${error.message}`);
  }
  const line = view.place.querySelector(`[data-reason="${CSS.escape(id)}"]`);
  if (line) line.textContent = view.sentences.get(id);
}

async function explainChosen(signal) {
  if (state.item === null) return;
  await Promise.all(shownNames().map(async (name) => {
    const view = viewOf(name);
    if (!view.asker) return;
    try {
      const body = { model: name, item: itemOf(state.item).item, method: state.method, top: ALL_REASONS, ...view.asker };
      view.why = { found: await post("/api/explain", body, signal) };
    } catch (error) {
      if (isAbort(error)) return;
      view.why = { error: error.message };
    }
  }));
  if (!signal.aborted) show();
}

async function meet(user) {
  person = stranger();
  if (user === null) return "";
  try {
    const { found } = await get("/api/search", { kind: "user", q: user, limit: 5, model: state.model });
    if (!found.some((one) => String(one.id) === user)) return unknown(user);
    const rows = await get(`/api/user/${encodeURIComponent(user)}`, { limit: 10000, model: state.model });
    if (state.user !== user) return ""; // somebody else was asked for meanwhile
    person = personOf(rows);
    for (const { item, title } of [...person.trained, ...person.heldOut]) titles.set(String(item), { item, title });
    return `${person.title}: ${counted(person.trained.length, "item")} in the history.`;
  } catch (error) {
    fail(error);
    return "";
  }
}

function unknown(user) {
  const learned = shownNames().every((name) => factsOf(name).unknown.includes("learned"));
  return `Nobody here is called ${user}: this is ${learned ? "what was learned of unknown users" : "what is popular"}.`;
}

/** The titles of items that the address names and no answer has named yet. */
async function nameItems() {
  const wanted = [...state.with, ...state.without, ...(state.item === null ? [] : [state.item])].filter((id) => !titles.has(id));
  for (const id of wanted) {
    const { found } = await get("/api/search", { kind: "item", q: id, limit: 1, model: state.model });
    if (found.length && String(found[0].id) === id) titles.set(id, { item: found[0].id, title: found[0].title });
  }
}

// ---- showing

function show() {
  const names = shownNames();
  place("lists").className = names.length > 1 ? "two" : "one";
  const wanted = names.map((name) => viewOf(name).place), there = place("lists").children;
  if (there.length !== wanted.length || wanted.some((one, index) => there[index] !== one)) place("lists").replaceChildren(...wanted);
  for (const name of names) showList(viewOf(name).place, shownOfModel(name, names), { open, add });
  const weights = names.map((name) => ({ model: name, why: viewOf(name).why?.found })).filter((one) => one.why);
  const name = state.user === null ? null : person.title ?? state.user;
  const gone = person.trained.filter((row) => state.without.includes(String(row.item)));
  const past = { name, entries: entries(), heldOut: person.heldOut, total: person.total, weights, numbers: state.numbers, gone, canUndo: edits.length > 0 };
  showPast(place("past"), past, { remove, putBack, undo, restart, setNumbers }, adding);
}

function shownOfModel(name, names) {
  const view = viewOf(name), other = names.find((one) => one !== name);
  const others = other && viewOf(other).answer && new Map([...placesOf(viewOf(other).answer)].map(([id, { rank: at }]) => [id, { rank: at, model: other }]));
  const why = view.why?.found ? whyOf(view.why.found, { hasNumbers: state.numbers, method: state.method }, { ask: askBy }) : view.why ? make("p", { class: "missing" }, view.why.error) : null;
  const title = state.item === null ? null : itemOf(state.item).title;
  return { served: factsOf(name), ...view, opened: state.item, why, title, others };
}

function showControls() {
  const others = served.filter((one) => one.name !== state.model);
  fill(place("models"), models("model", "Model", served, state.model, (name) => choose({ model: name, beside: state.beside === name ? null : state.beside })),
    others.length ? models("beside", "Beside it", others, state.beside, (name) => choose({ beside: name }), "no other model") : null);
  const fields = new Map(shownNames().flatMap((name) => [...factsOf(name).context, ...factsOf(name).features]).map((field) => [field.name, field]));
  fill(place("moment"), context([...fields.values()], state.said, tell));
  fill(place("facts"), shownNames().map((name) => make("span", {}, about(factsOf(name)))));
}

function about(facts) {
  const measured = Object.entries(facts.measured ?? {}).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value.toFixed(3)}`).slice(0, FEW_MEASURES);
  const under = measured.length ? ` Measured under ${facts.protocol}: ${measured.join(", ")}.` : "";
  return `${titled(facts)}: ${counted(facts.users, "user")}, ${counted(facts.items, "item")}, ${counted(facts.interactions, "interaction")}.${under} `;
}

// ---- what a person does

async function choose(change) {
  const began = performance.now();
  calm();
  state = { ...state, ...change };
  write(state, { isStep: true });
  showControls();
  const words = "user" in change || "model" in change ? await meet(state.user) : "";
  if ("user" in change) edits = [];
  await refresh({ words, began });
}

function tell(name, values) {
  const said = { ...state.said, [name]: values };
  if (!values.length) delete said[name];
  state = { ...state, said };
  write(state, { isStep: true });
  showControls();
  refresh({ words: `${name}: ${values.join(", ") || "not known"}.`, isEdit: true });
}

function edit(change, words) {
  const began = performance.now();
  edits.push({ with: state.with, without: state.without });
  state = { ...state, ...change };
  write(state, { isStep: true });
  show();
  refresh({ words, isEdit: true, began });
}

function remove({ item, title }) {
  const id = String(item), row = document.activeElement?.closest("li");
  const next = (row?.nextElementSibling ?? row?.previousElementSibling)?.querySelector("button")?.dataset.key ?? "undo";
  const isOwn = person.trained.some((one) => String(one.item) === id);
  edit({ with: state.with.filter((one) => one !== id), without: isOwn ? [...state.without, id] : state.without }, `Took out ${title}.`);
  place("past").querySelector(`[data-key="${CSS.escape(next)}"]`)?.focus({ preventScroll: true });
}

function add({ item, id = item, title }) {
  const key = String(id);
  titles.set(key, { item: id, title });
  if (entries().some((entry) => String(entry.item) === key)) return say(`${title} is in the history already.`);
  const isOwn = state.without.includes(key);
  return edit(isOwn ? { without: state.without.filter((one) => one !== key) } : { with: [...state.with, key] }, `Added ${title}.`);
}

const putBack = (row) => edit({ without: state.without.filter((one) => one !== String(row.item)) }, `Put ${row.title} back.`);
const restart = () => edit({ with: [], without: [] }, "As it was.");

function undo() {
  const began = performance.now(), last = edits.pop();
  if (!last) return;
  state = { ...state, ...last };
  write(state, { isStep: true });
  show();
  refresh({ words: "Undone.", isEdit: true, began });
}

async function open(id) {
  state = { ...state, item: state.item === id ? null : id, method: null };
  write(state, { isStep: false });
  for (const name of shownNames()) viewOf(name).why = null;
  show();
  await explainChosen(turn.signal);
}

async function askBy(method) {
  state = { ...state, method };
  write(state, { isStep: false });
  await explainChosen(turn.signal);
}

function setNumbers(numbers) {
  state = { ...state, numbers };
  write(state, { isStep: false });
  show();
}

// ---- beginning

const search = (kind) => (q, signal) => get("/api/search", { kind, q, limit: 12, model: state.model }, signal);
const meetUser = (id) => choose({ user: String(id), with: [], without: [], item: null, method: null });
const adding = chooser({ name: "add", label: "Add to the history", hint: "type a title", search: search("item"), choose: add, fail });

function build() {
  const finding = chooser({ name: "user", label: "Find a user", hint: "type a name or an id", search: search("user"), choose: ({ id }) => meetUser(id), otherwise: meetUser, fail });
  const acts = make("div", { class: "acts" },
    button("stranger", "Be a stranger", () => choose({ ...nobody(), model: state.model, beside: state.beside, numbers: state.numbers, seen: state.seen })),
    make("label", { class: "seen" }, make("input", { type: "checkbox", id: "seen", checked: state.seen, on: { change: (event) => choose({ seen: event.target.checked }) } }), " also what was chosen"),
    button("export", "Save as a file", () => save(`attlas-${state.model}.html`)));
  fill(place("controls"), make("div", { id: "models" }), finding, acts, make("div", { id: "moment" }));
  place("past").replaceChildren(make("h2", { id: "past-heading" }, "History"), make("div", { class: "adding" }), make("div", { class: "past-body" }));
}

async function start() {
  calm();
  try {
    served = (await get("/api/models")).models;
    const isServed = (name) => served.some((one) => one.name === name);
    const missing = shownNames().filter((name) => !isServed(name));
    state.model = isServed(state.model) ? state.model : served[0].name;
    state.beside = isServed(state.beside) && state.beside !== state.model ? state.beside : null;
    build();
    showControls();
    await nameItems();
    const words = await meet(state.user);
    await refresh({ words: missing.length ? `No model ${missing.join(", ")} is served here. ${words}` : words });
  } catch (error) {
    fail(error);
  }
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // what stands after the # is the state
  place("lists").focus();
});
addEventListener("popstate", () => {
  state = read();
  edits = [];
  start();
});
start();
