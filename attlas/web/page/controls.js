// What can be set above the lists: the models, who it is for, and what is known of the moment.

import { make } from "./dom.js";

const FEW = 12;

/** A choice of one of the models, or of none. */
export function models(name, label, served, chosen, change, none = null) {
  const options = served.map((one) => make("option", { value: one.name, selected: one.name === chosen }, titled(one)));
  if (none) options.unshift(make("option", { value: "", selected: chosen === null }, none));
  const select = make("select", { id: name, "data-key": name, on: { change: (event) => change(event.target.value || null) } }, options);
  return make("div", { class: "choice" }, make("label", { for: name }, label), select);
}

/** The name of a run, and of its method where that says more. */
export const titled = (one) => (one.name.toLowerCase().includes(one.model) ? one.name : `${one.name} (${one.model})`);

/**
 * What may be said of the moment and of a stranger: a control for each field.
 * @param {{name, kind, size, categories}[]} fields
 * @param {Object<string, string[]>} said values as text by the name of the field.
 * @param {(name: string, values: string[]) => void} change
 */
export function context(fields, said, change) {
  if (!fields.length) return null;
  const parts = fields.map((field) => control(field, said[field.name] ?? [], (values) => change(field.name, values)));
  return make("fieldset", { class: "context" }, make("legend", {}, "What is known of the moment"), parts);
}

function control(field, values, change) {
  const id = `said-${field.name}`, categories = field.categories ?? [];
  const named = (input) => make("div", { class: "choice" }, make("label", { for: id }, field.name), input);
  if (field.kind === "bag" && categories.length <= FEW) return boxes(field, values, change);
  if (field.kind === "bag") {
    const picked = (event) => change([...event.target.selectedOptions].map((one) => one.value));
    return named(make("select", { id, "data-key": id, multiple: true, size: 4, on: { change: picked } }, options(categories, values)));
  }
  if (field.kind === "category" && field.size <= categories.length + 1) {
    const unknown = make("option", { value: "", selected: !values.length }, "not known");
    const picked = (event) => change(event.target.value === "" ? [] : [event.target.value]);
    return named(make("select", { id, "data-key": id, on: { change: picked } }, unknown, options(categories, values)));
  }
  const typed = (event) => change(event.target.value.trim() === "" ? [] : [event.target.value.trim()]);
  const type = field.kind === "category" ? "text" : "number";
  return named(make("input", { id, "data-key": id, type, step: "any", value: values[0] ?? "", placeholder: "not known", on: { change: typed } }));
}

const options = (categories, values) =>
  categories.map((one) => make("option", { value: String(one), selected: values.includes(String(one)) }, String(one)));

function boxes(field, values, change) {
  const box = (one) => {
    const toggled = (event) => change(event.target.checked ? [...values, String(one)] : values.filter((value) => value !== String(one)));
    const key = `said-${field.name}-${one}`;
    return make(
      "label", {}, make("input", { type: "checkbox", "data-key": key, checked: values.includes(String(one)), on: { change: toggled } }), ` ${one}`,
    );
  };
  return make("fieldset", { class: "boxes" }, make("legend", {}, field.name), field.categories.map(box));
}

/** What was said, of the fields that one model knows, in the types that it knows; null where that is nothing. */
export function understood(fields, said) {
  const values = {};
  for (const field of fields) {
    const given = said[field.name] ?? [];
    if (!given.length) continue;
    const own = given.map((text) => (field.categories ?? []).find((one) => String(one) === text) ?? text);
    if (field.kind === "bag") values[field.name] = own;
    else values[field.name] = field.kind === "category" ? own[0] : Number(given[0]);
  }
  return Object.keys(values).length ? values : null;
}
