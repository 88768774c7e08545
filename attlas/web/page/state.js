// What is looked at, as the part of the address after the #: a link shows another person the same, and no server hears of it.

const ALONE = ["model", "beside", "user", "item", "method"];
const FLAGS = ["numbers", "seen"];
const MANY = ["with", "without"];

/** Nothing chosen: a stranger without a history. */
export const nobody = () => ({ model: null, beside: null, user: null, item: null, method: null, with: [], without: [], said: {}, numbers: false, seen: false });

/** The state that an address holds. */
export function read(hash = location.hash) {
  const found = new URLSearchParams(hash.replace(/^#/, ""));
  const state = nobody();
  for (const name of ALONE) state[name] = found.get(name) || null;
  for (const name of MANY) state[name] = [...new Set(found.getAll(name))];
  for (const [name, value] of found) if (name.startsWith("said.")) (state.said[name.slice(5)] ??= []).push(value);
  for (const name of FLAGS) state[name] = found.get(name) === "1";
  return state;
}

/** Write the state into the address; an edit of the history is a step that the browser can go back. */
export function write(state, { isStep }) {
  const found = new URLSearchParams();
  for (const name of ALONE) if (state[name] !== null) found.append(name, state[name]);
  for (const name of MANY) for (const id of state[name]) found.append(name, id);
  for (const [name, values] of Object.entries(state.said)) for (const value of values) found.append(`said.${name}`, value);
  for (const name of FLAGS) if (state[name]) found.append(name, "1");
  const hash = `#${found}`;
  if (hash !== (location.hash || "#")) history[isStep ? "pushState" : "replaceState"](null, "", hash);
}
