// The list of one model: rank, title, score, what moved, the sentence of reasons; an item opens to say more.

import { button, fill, heard, make, scored } from "./dom.js";
import { titled } from "./controls.js";

/**
 * @param {HTMLElement} place
 * @param {object} shown `served` (the model's facts), `answer` (way, items), `before` (places of the list before, or null), `opened`
 *   (id or null), `why` (elements of the opened item), `sentences` (by id), `others` (places in the list beside), `note`, `error`.
 * @param {object} deeds `open` and `add`.
 */
export function showList(place, shown, deeds) {
  const { served, answer, error } = shown;
  const name = `list-${encodeURIComponent(served.name)}`; // lists of ids are parted by spaces
  place.setAttribute("aria-labelledby", name);
  place.setAttribute("aria-busy", String(!answer && !error));
  const scale = answer ? scaleOf(answer.items) : null;
  const isOpenHere = answer?.items.some((one) => String(one.item) === shown.opened);
  fill(
    place,
    make("h2", { id: name }, titled(served)),
    error ? make("p", { class: "missing" }, error) : null,
    answer ? make("p", { class: "aside way" }, [shown.note, `Answered as: ${answer.way}.`, scale.words].filter(Boolean).join(" ")) : null,
    answer ? make("ol", { class: "ranked" }, answer.items.map((one) => row(one, shown, scale, deeds))) : null,
    answer && !answer.items.length ? make("p", { class: "aside" }, "No item is left to recommend.") : null,
    answer ? lost(shown) : null,
    shown.opened && shown.why && !isOpenHere ? beyond(shown) : null,
  );
}

/** Bars begin at 0 where no score is below it; logits may be, and then begin a little left of the lowest. */
function scaleOf(items) {
  const scores = items.map((one) => one.score).filter((score) => score !== null);
  const low = Math.min(...scores), high = Math.max(...scores);
  if (!scores.length || low >= 0) return { share: (score) => (high > 0 ? score / high : 0), words: "Bars begin at 0." };
  const span = high - low || 1;
  return { share: (score) => 0.08 + (0.92 * (score - low)) / span, words: "Bars span this list's lowest to highest score." };
}

function row(one, shown, scale, deeds) {
  const id = String(one.item), isOpen = shown.opened === id, region = `why-${encodeURIComponent(`${shown.served.name}-${id}`)}`;
  const other = shown.others?.get(id);
  return make(
    "li", { class: isOpen ? "open" : null },
    make(
      "div", { class: "line" },
      make(
        "button", { type: "button", class: "item", "data-key": `${shown.served.name}-${id}`, "aria-expanded": String(isOpen), "aria-controls": isOpen ? region : null, on: { click: () => deeds.open(id) } },
        make("span", { class: "rank" }, heard("rank "), String(one.rank)),
        make("span", { class: "film" }, one.title, other ? make("small", {}, ` also ${other.rank} in ${other.model}`) : null),
        moved(one, shown.before),
        make("span", { class: "score" }, heard("score "), scored(one.score)),
        make("span", { class: "length", "aria-hidden": "true", style: { "--share": (one.score === null ? 0 : scale.share(one.score)).toFixed(4) } }),
      ),
      button(`add-${shown.served.name}-${id}`, "+", () => deeds.add(one), { label: `Add ${one.title} to the history`, class: "small" }),
    ),
    isOpen ? null : make("p", { class: "reason", "data-reason": id }, shown.sentences.get(id) ?? ""),
    isOpen ? make("div", { class: "why", id: region, role: "region", "aria-label": `Why ${one.title}` }, shown.why ?? make("p", { class: "aside" }, "Asking why…")) : null,
  );
}

function moved(one, before) {
  if (!before) return null;
  const was = before.get(String(one.item))?.rank;
  if (was === undefined) return make("span", { class: "move new" }, "new");
  if (was === one.rank) return null;
  const way = was > one.rank ? ["▲", "up"] : ["▼", "down"], steps = Math.abs(was - one.rank);
  return make("span", { class: `move ${way[1]}` }, make("span", { "aria-hidden": "true" }, `${way[0]} ${steps}`), heard(`, ${way[1]} ${steps}`));
}

function beyond({ title, why, answer }) {
  const where = answer?.items.length ? `not among the first ${answer.items.length} here` : "not in this list";
  return make("div", { class: "why beyond", role: "region", "aria-label": `Why ${title}` }, make("h3", {}, title, make("small", {}, ` ${where}`)), why);
}

function lost({ answer, before }) {
  if (!before) return null;
  const here = new Set(answer.items.map((one) => String(one.item)));
  const left = [...before.values()].filter((one) => !here.has(String(one.item)));
  return left.length ? make("p", { class: "aside lost" }, `No longer here: ${left.map((one) => one.title).join(", ")}`) : null;
}

/** What moved, in words. */
export function movesOf(items, before) {
  if (!before) return "";
  const was = items.map((one) => [one.rank, before.get(String(one.item))?.rank]);
  const counts = { up: was.filter(([now, then]) => then > now).length, down: was.filter(([now, then]) => then < now).length, new: was.filter(([, then]) => then === undefined).length };
  return Object.entries(counts).filter(([, count]) => count).map(([word, count]) => `${count} ${word}`).join(", ") || "nothing moved";
}
