// A field that suggests while one types: the combobox pattern of WAI-ARIA, by keyboard and by touch.

import { heard, make } from "./dom.js";

const PAUSE = 90;

/**
 * @param {string} name unique on the page.
 * @param {string} label what the field is for.
 * @param {(text: string, signal: AbortSignal) => Promise<{found: {id, title, count}[], total: number}>} search
 * @param {(one: {id, title}) => void} choose told what was chosen.
 * @param {(text: string) => void} otherwise told a text that no suggestion has, where that means something.
 * @param {(error: Error) => void} fail told what went wrong.
 */
export function chooser({ name, label, hint, search, choose, otherwise = null, fail }) {
  const list = make("ul", { id: `${name}-list`, role: "listbox", "aria-label": label, hidden: true });
  const field = make("input", {
    id: name, type: "text", role: "combobox", autocomplete: "off", spellcheck: "false", placeholder: hint, maxlength: 256,
    "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list",
  });
  const told = make("span", { class: "heard", role: "status" });
  let found = [], place = -1, asking = null, timer = null, isBehind = false; // behind what is typed

  const close = () => {
    clearTimeout(timer);
    asking?.abort();
    list.hidden = true;
    list.replaceChildren();
    found = [];
    place = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const point = (next) => {
    const options = list.querySelectorAll("[role=option]");
    if (!options.length) return;
    place = (next + options.length) % options.length;
    options.forEach((option, index) => option.setAttribute("aria-selected", String(index === place)));
    field.setAttribute("aria-activedescendant", options[place].id);
    options[place].scrollIntoView({ block: "nearest" });
  };
  const take = (one) => {
    field.value = "";
    close();
    choose(one);
  };
  const suggest = async () => {
    clearTimeout(timer);
    asking?.abort();
    const mine = (asking = new AbortController());
    try {
      const answer = await search(field.value.trim(), mine.signal);
      if (mine.signal.aborted || document.activeElement !== field) return;
      found = answer.found;
      isBehind = false;
      place = -1;
      field.removeAttribute("aria-activedescendant");
      list.replaceChildren(...found.map((one, index) => option(`${name}-${index}`, one, () => take(one))));
      if (!found.length) list.append(make("li", { class: "none", role: "presentation" }, "Nobody and nothing is called so."));
      list.hidden = false;
      field.setAttribute("aria-expanded", "true");
      told.textContent = found.length ? `${answer.total.toLocaleString("en")} found; arrow keys choose` : "nothing found";
    } catch (error) {
      if (error.name !== "AbortError") fail(error);
    }
  };
  const press = async (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden || isBehind) await suggest();
      point(event.key === "ArrowDown" ? place + 1 : (place < 0 ? 0 : place) - 1);
    } else if (event.key === "Enter") {
      event.preventDefault();
      await settle();
    } else if (event.key === "Escape") close();
    else if (event.key === "Tab") close();
  };
  const settle = async () => {
    const text = field.value.trim();
    if (place >= 0) return take(found[place]);
    if (!text) return;
    if (list.hidden || isBehind) await suggest();
    const called = found.find((one) => String(one.id) === text || one.title.toLowerCase() === text.toLowerCase());
    if (called ?? (found.length === 1 && !otherwise)) take(called ?? found[0]);
    else if (otherwise) {
      field.value = "";
      close();
      otherwise(text);
    } else if (found.length) point(0);
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    asking?.abort(); // an answer to fewer letters must not pass for one to these
    isBehind = true;
    place = -1;
    timer = setTimeout(suggest, PAUSE);
  });
  field.addEventListener("focus", suggest);
  field.addEventListener("keydown", press);
  field.addEventListener("blur", close);
  return make("div", { class: "chooser" }, make("label", { for: name }, label), field, list, told);
}

function option(id, one, take) {
  const isCalledOtherwise = one.title !== String(one.id);
  const about = [isCalledOtherwise ? String(one.id) : null, `${one.count.toLocaleString("en")} ×`].filter(Boolean).join(" · ");
  const keepFocus = (event) => event.preventDefault(); // the field is left only when the choice is made
  return make(
    "li", { id, role: "option", "aria-selected": "false", on: { pointerdown: keepFocus, mousedown: keepFocus, click: take } },
    make("span", { class: "film" }, one.title), heard(", "), make("span", { class: "about" }, about),
  );
}
