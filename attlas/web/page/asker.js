// Who asks, as each model can be told: a known user, one that nobody knows, or a stranger with a history.

import { understood } from "./controls.js";

/** What a list holds. */
export const K = 10;
const MOST = 1000; // that the service gives at once

/** A person without a name and without rows of their own. */
export const stranger = () => ({ isKnown: false, title: null, total: 0, trained: [], heldOut: [] });

/** A person from the rows that the service holds: the model was shown the trained ones, and the others only where there are none. */
export function personOf({ title, total, history }) {
  const trained = history.filter((row) => !row.held_out);
  const heldOut = trained.length ? history.filter((row) => row.held_out) : [];
  return { isKnown: true, title, total, trained: distinct(trained.length ? trained : history), heldOut: distinct(heldOut) };
}

function distinct(rows) {
  return [...new Map(rows.map((row) => [String(row.item), row])).values()];
}

/** The history as it was changed: what is left of the rows, and what was added. */
export function entriesOf(state, person, itemOf) {
  const left = person.trained.filter((row) => !state.without.includes(String(row.item)));
  const here = new Set(left.map((row) => String(row.item)));
  return [...left, ...state.with.filter((id) => !here.has(id)).map((id) => ({ ...itemOf(id), isAdded: true }))];
}

/**
 * What to ask a model for.
 * @returns `path` and `body` of the request, `hidden` ids that its answer may hold and the list may not, `asker`, the part of the
 *   body that asks for reasons, and a `note` for the person.
 */
export function questionOf(facts, state, person, entries) {
  const isChanged = state.with.length > 0 || state.without.length > 0;
  const history = entries.map((entry) => entry.item), context = understood(facts.context, state.said);
  const base = { model: facts.name, exclude_seen: !state.seen }, hides = (rows) => new Set(state.seen ? [] : rows.map((row) => String(row.item)));
  if (person.isKnown && (!isChanged || !facts.serves_strangers)) {
    const body = { ...base, user: state.user, unknown: "popular", context, k: atMost(K + state.with.length) };
    const notes = [isChanged ? `This model does not read the history: it still answers for ${person.title}.` : "", unheard(facts, state)];
    return { path: "/api/recommend", body, asker: { user: state.user, context }, hidden: hides(entries), note: notes.filter(Boolean).join(" ") };
  }
  if (state.user !== null && !person.isKnown && !isChanged) {
    const unknown = facts.unknown.includes("learned") ? "learned" : "popular";
    const asker = unknown === "learned" ? { user: state.user, context } : { history: [] };
    return { path: "/api/recommend", body: { ...base, user: state.user, unknown, context, k: K }, asker, hidden: new Set(), note: unheard(facts, state) };
  }
  const features = understood([...facts.features, ...facts.context], state.said);
  const note = history.length && !facts.serves_strangers ? "This model can make nothing of a history." : "";
  const body = { ...base, history, features, k: atMost(K + person.heldOut.length) };
  return { path: "/api/recommend-for", body, asker: { history, features }, hidden: hides(person.heldOut), note };
}

const atMost = (count) => Math.min(MOST, count);

/** Which fields were spoken of that a model hears of strangers alone, in words. */
function unheard(facts, state) {
  const names = facts.features.map((field) => field.name).filter((name) => state.said[name]?.length);
  return names.length ? `${names.join(", ")}: heard of strangers only.` : "";
}

/** The first items of an answer that may be shown, ranked anew. */
export function shownOf(items, hidden) {
  return items.filter((one) => !hidden.has(String(one.item))).slice(0, K).map((one, place) => ({ ...one, rank: place + 1 }));
}
