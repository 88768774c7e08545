// Numbers as pictures that are tables still: bars with their words, and pairs of fields as a heat map.

import { heard, make, weighed } from "./dom.js";

const FIRST = 8;

const heaviestOf = (rows) => Math.max(...rows.map((row) => Math.abs(row.weight))) || 1;

/** Rows of words and weights as bars, the first few at once and the others on demand. */
export function bars(rows, { isShare = false, limit = FIRST, most = heaviestOf(rows) } = {}) {
  const line = (row) => make(
    "li", {},
    make("span", {}, row.words), make("span", { class: "weight" }, weighed(row.weight, isShare)),
    make("span", { class: `length${row.weight < 0 ? " below" : ""}`, "aria-hidden": "true", style: { "--share": (Math.abs(row.weight) / most).toFixed(4) } }),
  );
  const others = rows.slice(limit);
  return [
    make("ul", { class: "bars" }, rows.slice(0, limit).map(line)),
    others.length ? make("details", { class: "more" }, make("summary", {}, `${others.length.toLocaleString("en")} more`), make("ul", { class: "bars" }, others.map(line))) : null,
  ];
}

/** Pairs of fields as a triangle of cells, one for each pair: darker for more, a sign where it speaks against. */
export function pairsMap(pairs, hasNumbers) {
  const value = (row) => row.contribution ?? row.weight;
  const features = new Map();
  for (const row of pairs) features.set(row.field, row.feature).set(row.other_field, row.other);
  const names = [...features.keys()];
  const at = new Map(pairs.flatMap((row) => [[`${row.field}\n${row.other_field}`, row], [`${row.other_field}\n${row.field}`, row]]));
  const most = Math.max(...pairs.map((row) => Math.abs(value(row)))) || 1;
  const heaviest = pairs.reduce((one, other) => (value(other) > value(one) ? other : one));
  const cell = (field, other) => {
    const row = at.get(`${field}\n${other}`);
    if (!row) return make("td", {});
    const weight = value(row), isHeaviest = row === heaviest && weight > 0;
    const sign = weight < 0 ? "−" : isHeaviest ? "★" : "";
    return make(
      "td", { class: `square${weight < 0 ? " below" : ""}${isHeaviest ? " heaviest" : ""}`, style: { "--heat": (Math.abs(weight) / most).toFixed(4) }, title: `${row.field} ${row.feature} with ${row.other_field} ${row.other}: ${weighed(weight)}` },
      hasNumbers ? weighed(weight) : [make("span", { "aria-hidden": "true" }, sign), heard(`${weighed(weight)}${isHeaviest ? ", the most" : ""}`)],
    );
  };
  const head = names.slice(0, -1).map((name) => make("th", { scope: "col" }, name));
  const body = names.slice(1).map((name, place) => make(
    "tr", {}, make("th", { scope: "row" }, name, make("small", {}, ` ${features.get(name)}`)),
    names.slice(0, -1).map((other, column) => (column <= place ? cell(other, name) : make("td", {}))),
  ));
  const table = make("table", { class: "pairs" }, make("caption", { class: "heard" }, "What each pair of features adds"), make("thead", {}, make("tr", {}, make("td", {}), head)), make("tbody", {}, body));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Pairs of features" }, table);
}

/** Communities: how far the user belongs to each, and how likely its members come across the item. */
export function communities(rows) {
  const share = (value) => make("td", { class: "meter" }, make("span", {}, weighed(value, true)), make("span", { class: "length", "aria-hidden": "true", style: { "--share": Math.min(1, Math.max(0, value)).toFixed(4) } }));
  const body = rows.map((row) => make("tr", {}, make("th", { scope: "row" }, `community ${row.community}`), share(row.membership), share(row.exposure)));
  const head = ["", "belongs to it", "its members come across it"].map((words) => make("th", { scope: "col" }, words));
  return make("table", { class: "communities" }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, body));
}
