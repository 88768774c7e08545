// Why one item: whatever parts an explanation has, in one order; what is absent is not shown.

import { button, make, scored, weighed } from "./dom.js";
import { bars, communities, pairsMap } from "./tables.js";

/** What the weights of each method are. */
export const WEIGHS = {
  attention: "how the model shares its attention over what was chosen",
  contribution: "what each choice adds to the score",
  counterfactual: "how far the score falls without each choice",
  features: "what each feature adds to the score",
  pairs: "what each pair of features adds to the score",
  deletion: "how far the score falls without each pair of features",
  factors: "what each latent dimension and each bias adds to the score",
  windows: "what each shift of the latent window and each user's ratings add to the score",
  popularity: "how many have chosen it",
  none: "this model weighs no single choice",
};
const HEADINGS = { history: "From the history", audience: "Others who chose it", features: "Features", factors: "Factors", shifts: "Shifts of the latent window", neighbours: "Users whose ratings count", ratings: "Ratings that count" };
const OWN = new Set(["pairs", "exposure", "reasons", "unknown"]);
const FEW = 5; // the whole history stands beside it as a heat map
const LEAST = 1e-6; // what is less is rounding
const WEIGHTS = ["weight", "contribution"];

/** The elements of an explanation. `deeds.ask` asks again by another method. */
export function whyOf(why, { hasNumbers, method }, deeds) {
  const tables = Object.entries(why).filter(([name, rows]) => !OWN.has(name) && isTable(rows));
  return [
    make("p", { class: "sentence" }, withoutTitle(why.sentence, why.title)),
    make("p", { class: "aside" }, `Method: ${why.method}, ${WEIGHS[why.method] ?? "what each part weighs"}. Score ${scored(why.score)}; answered as: ${why.way}.`),
    methods(why, method, deeds),
    why.note ? make("p", { class: "note" }, `Mind: ${why.note}.`) : null,
    why.unknown?.length ? make("p", { class: "note" }, `Not known: ${why.unknown.join(", ")}.`) : null,
    why.exposure ? exposure(why.exposure) : null,
    why.pairs?.length ? part("Pairs of features", pairsMap(why.pairs, hasNumbers), bars(why.pairs.map(asPair))) : null,
    tables.map(([name, rows]) => part(HEADINGS[name] ?? name.replaceAll("_", " "), bars(rows.map(asReason), name === "history" ? { isShare: Boolean(why.are_shares), limit: FEW } : {}))),
    Math.abs(why.rest ?? 0) > LEAST ? make("p", { class: "aside" }, `Beside all of these: ${weighed(why.rest)}.`) : null,
  ];
}

/** A sentence without the title before it, where the title stands above it already. */
export const withoutTitle = (sentence, title) => (sentence.startsWith(`${title}: `) ? sentence.slice(title.length + 2) : sentence);

function methods(why, method, deeds) {
  if (method === null && !["attention", "contribution"].includes(why.method)) return null;
  const [words, next] = method === null ? ["What if each were missing?", "counterfactual"] : ["Back to the model's own reasons", null];
  return make("p", {}, button("method", words, () => deeds.ask(next), { class: "link" }));
}

function exposure({ chance, preference, communities: rows }) {
  const share = (words, value) => ({ words, weight: value });
  return part(
    "Seen, and liked?",
    bars([share("chance that they came across it", chance), share("how much they would like it, were it seen", preference)], { isShare: true, most: 1 }),
    rows?.length ? communities(rows) : null,
  );
}

function part(heading, ...content) {
  return make("section", { class: "part" }, make("h3", {}, heading), content);
}

const isTable = (rows) => Array.isArray(rows) && rows.length > 0 && rows.every((row) => typeof row === "object" && row !== null && WEIGHTS.some((name) => typeof row[name] === "number"));

function asPair(row) {
  const product = typeof row.attention === "number" ? `; attention ${weighed(row.attention, true)} × score ${weighed(row.score)}` : "";
  return { words: `${row.field} ${row.feature} with ${row.other_field} ${row.other}${product}`, weight: row.contribution ?? row.weight };
}

/** A row of any table: its words are all that is no weight; a title stands for the id beside it. */
function asReason(row) {
  const weight = row.weight ?? row.contribution;
  if ("field" in row && "feature" in row) return { words: `${row.field} ${row.feature}`, weight };
  const names = Object.keys(row).filter((name) => !WEIGHTS.includes(name) && row[name] !== null && row[name] !== "" && !(name === "item" && row.title));
  const words = names.map((name) => (["title", "user", "factor"].includes(name) ? String(row[name]) : `${name} ${typeof row[name] === "object" ? Object.values(row[name]).join(", ") : row[name]}`));
  return { words: words.join(", "), weight };
}
