// The history: what was chosen, how heavily each entry weighs for the item that is looked at, and the buttons that change it.

import { button, counted, fill, heard, make, weighed } from "./dom.js";
import { WEIGHS } from "./why.js";

/**
 * @param {HTMLElement} place
 * @param {object} shown `name` of who it is, `entries` ({item, title, isAdded}), `heldOut`, `total`, `weights` (a model's name and
 *   its explanation each), `numbers`, `gone` (what was taken out, {item, title}), `canUndo`.
 * @param {object} deeds `remove`, `putBack`, `undo`, `restart`, `setNumbers`.
 * @param {HTMLElement} adding the field that adds an item.
 */
export function showPast(place, shown, deeds, adding) {
  const heats = shown.weights.map(({ model, why }) => heatOf(model, why)).filter(Boolean);
  const order = heats.length ? byHeat(shown.entries, heats) : shown.entries;
  const cells = order.map((entry) => cell(entry, heats, shown.numbers, deeds));
  const said = `${counted(shown.entries.length, "item")}${shown.total > shown.entries.length + shown.heldOut.length ? ` of ${shown.total}` : ""}`;
  place.querySelector("h2").textContent = shown.name ? `History of ${shown.name}` : "A stranger's history";
  fill(
    place.querySelector(".past-body"),
    make("p", { class: "aside" }, shown.entries.length ? said : "Nothing chosen yet. Add an item, and the list is theirs."),
    tools(shown, deeds, heats),
    heats.map((heat, index) => legend(heat, index, heats.length)),
    cells.length ? make("ul", { class: "cells", tabindex: "0", "aria-label": "History" }, cells) : null,
    shown.gone.length ? gone(shown.gone, deeds) : null,
    shown.heldOut.length ? heldOut(shown.heldOut) : null,
  );
  if (adding.parentNode !== place.querySelector(".adding")) place.querySelector(".adding").append(adding);
}

function tools(shown, deeds, heats) {
  const isChanged = shown.gone.length || shown.entries.some((entry) => entry.isAdded);
  const numbers = make("input", { type: "checkbox", id: "numbers", "data-key": "numbers", checked: shown.numbers, on: { change: (event) => deeds.setNumbers(event.target.checked) } });
  return make(
    "div", { class: "tools" },
    button("undo", "Undo", deeds.undo, { label: "Undo the last change of the history", disabled: !shown.canUndo }),
    isChanged ? button("restart", shown.name ? "As it was" : "Empty it", deeds.restart) : null,
    heats.length ? make("label", {}, numbers, " Numbers") : null,
  );
}

/** The weights of one explanation by item, and how heavy the heaviest is; null where no entry is weighed. */
function heatOf(model, why) {
  if (!why?.history?.length) return null;
  const weight = new Map(why.history.map((row) => [String(row.item), row.weight]));
  const most = Math.max(...[...weight.values()].map(Math.abs)) || 1;
  const heaviest = String(why.history.reduce((one, other) => (other.weight > one.weight ? other : one)).item);
  return { model, why, weight, most, heaviest, isShare: Boolean(why.are_shares) };
}

function byHeat(entries, heats) {
  const heat = (entry) => Math.max(...heats.map(({ weight, most }) => Math.abs(weight.get(String(entry.item)) ?? 0) / most));
  return entries.map((entry, place) => ({ entry, place, heat: heat(entry) }))
    .sort((one, other) => other.heat - one.heat || one.place - other.place).map(({ entry }) => entry);
}

function legend(heat, index, count) {
  const side = count > 1 ? (index ? "Right half: " : "Left half: ") : "";
  const what = `${side}${heat.why.method}, ${WEIGHS[heat.why.method] ?? "what each entry weighs"}, for ${heat.why.title} (${heat.model})`;
  return make("p", { class: "legend" }, make("span", { class: "scale", "aria-hidden": "true" }), what);
}

function cell(entry, heats, hasNumbers, deeds) {
  const key = String(entry.item);
  const marks = heats.map((heat) => ({ heat, weight: heat.weight.get(key), share: Math.abs(heat.weight.get(key) ?? 0) / heat.most }));
  const strips = marks.map(({ weight, share }) =>
    make("span", { class: `heat${weight < 0 ? " below" : ""}`, style: { "--heat": share.toFixed(4) } }, make("span", { class: "length" })));
  const inWhich = (holds) => marks.filter(holds).map(({ heat }) => heat.model);
  const said = (word, models) => (models.length ? make("span", { class: `mark ${word}` }, models.length < heats.length ? `${word} in ${models[0]}` : word) : null);
  const numbers = marks.map(({ heat, weight }) => `${heats.length > 1 ? `${heat.model} ` : ""}${weight === undefined ? "not weighed" : weighed(weight, heat.isShare)}`);
  return make(
    "li", { class: "cell" },
    make("span", { class: "heats", "aria-hidden": "true" }, strips),
    make(
      "span", { class: "what" }, entry.title,
      said("heaviest", inWhich(({ heat, weight }) => heat.heaviest === key && weight > 0)),
      said("against", inWhich(({ weight }) => weight < 0)),
      entry.isAdded ? make("span", { class: "mark" }, "added") : null,
      marks.length ? (hasNumbers ? make("span", { class: "weights" }, numbers.join(" · ")) : heard(`; ${numbers.join("; ")}`)) : null,
    ),
    button(`remove-${key}`, "×", () => deeds.remove(entry), { label: `Take ${entry.title} out of the history`, class: "small" }),
  );
}

function gone(rows, deeds) {
  const items = rows.map((row) => make("li", {}, make("s", {}, row.title), " ", button(`back-${row.item}`, "put back", () => deeds.putBack(row), { label: `Put ${row.title} back`, class: "link" })));
  return make("div", { class: "gone" }, make("h3", {}, "Taken out"), make("ul", {}, items));
}

function heldOut(rows) {
  const words = `${counted(rows.length, "item")} chosen later: held out of training, and left out of the list`;
  return make("details", { class: "more" }, make("summary", {}, words), make("ul", {}, rows.map((row) => make("li", {}, row.title))));
}
