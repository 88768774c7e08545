// What one sees as one file of HTML: no scripts, nothing to fetch.

import { make } from "./dom.js";

const TYPE = "text/html;charset=utf-8";
const GONE = "script, noscript, link, .skip, .asks, .tools, .adding, .chooser, .small, .link, .acts, #token, [role=alert]:empty";

/** The page as it stands, as text. */
export function frozen() {
  const copy = document.documentElement.cloneNode(true);
  copy.querySelectorAll(GONE).forEach((one) => one.remove());
  const kept = (tag) => [...document.querySelectorAll(tag)].filter((one) => !one.closest(GONE)); // in the order of the copy's
  const chosen = kept("select").map((one) => [...one.selectedOptions].map((option) => option.textContent).join(", "));
  copy.querySelectorAll("select").forEach((one, place) => one.replaceWith(make("strong", {}, chosen[place])));
  const typed = kept("input");
  [...copy.querySelectorAll("input")].forEach((one, place) => one.replaceWith(make("strong", {}, typed[place].type === "checkbox" ? (typed[place].checked ? "yes:" : "no:") : typed[place].value || "not known")));
  copy.querySelectorAll("button").forEach((one) => {
    const still = make("div", { class: one.className });
    still.append(...one.childNodes);
    one.replaceWith(still);
  });
  copy.querySelectorAll("details").forEach((one) => one.setAttribute("open", ""));
  copy.querySelectorAll("[tabindex], [role=region]").forEach((one) => ["tabindex", "aria-live"].forEach((name) => one.removeAttribute(name)));
  copy.classList.add("still");
  const style = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).map((rule) => rule.cssText).join("\n");
  const policy = "default-src 'none'; style-src 'unsafe-inline'";
  copy.querySelector("head").prepend(make("meta", { charset: "utf-8" }), make("meta", { "http-equiv": "Content-Security-Policy", content: policy }));
  copy.querySelector("head").append(make("style", {}, style));
  copy.querySelector("footer").append(make("p", { class: "aside" }, `As seen on ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC.`));
  return `<!DOCTYPE html>\n${copy.outerHTML}`;
}

/** Hand the page over as a download. */
export function save(name) {
  const address = URL.createObjectURL(new Blob([frozen()], { type: TYPE }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
