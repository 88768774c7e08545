// Elements made of text alone: nothing that came from the data is ever read as markup.

/** An element. Attributes by name: `on` holds listeners, `style` variables of CSS, false and null leave one out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [property, set] of Object.entries(value)) element.style.setProperty(property, set);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** New content for a place; the focus stays where an element with the same `data-key` can have it, else with its part of the page. */
export function fill(place, ...children) {
  const isFocused = place.contains(document.activeElement), key = document.activeElement?.closest("[data-key]")?.dataset.key;
  place.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (!isFocused) return;
  const again = key === undefined ? null : place.querySelector(`[data-key="${CSS.escape(key)}"]:not(:disabled)`);
  (again ?? place.closest("[tabindex]"))?.focus({ preventScroll: true });
}

/** A button with words to see and, where those are too few, words to hear. */
export function button(key, words, deed, { label = null, ...attributes } = {}) {
  return make("button", { type: "button", "data-key": key, "aria-label": label, title: label, on: { click: deed }, ...attributes }, words);
}

/** Text for those who hear the page. */
export const heard = (text) => make("span", { class: "heard" }, text);

const significant = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** A number with its sign, as a person reads it; a share as a percentage. */
export function weighed(weight, isShare = false) {
  if (weight === null || weight === undefined) return "none";
  if (isShare) return `${(100 * weight).toFixed(weight < 0.0995 ? 1 : 0)} %`;
  return (weight > 0 ? "+" : "") + significant.format(weight).replace("-", "−");
}

/** A score: three digits after the point, or whole where scores are counts. */
export function scored(score) {
  if (score === null) return "none";
  return (Number.isInteger(score) ? String(score) : score.toFixed(3)).replace("-", "−");
}

/** `1 film`, `2 films`. */
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
