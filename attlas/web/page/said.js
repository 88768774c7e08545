// What is said to the person beside the lists: how it stands, what went wrong, and that a token is wanted.

import { isAbort, keepToken } from "./ask.js";
import { fill, make } from "./dom.js";

const place = (id) => document.getElementById(id);

/** Say how it stands. */
export const say = (sentence) => (place("status").textContent = sentence);

/** Say what went wrong; `again` is done once a token that was missing has been entered. */
export function alarm(error, again) {
  if (isAbort(error)) return;
  if (error.status === 401) askForToken(again);
  fill(place("alarm"), make("p", { class: "missing" }, error.message));
}

/** What went wrong is over. */
export const calm = () => fill(place("alarm"));

function askForToken(again) {
  const field = make("input", { id: "token-field", type: "password", autocomplete: "off" });
  const enter = (event) => {
    event.preventDefault();
    keepToken(field.value.trim());
    place("token").replaceChildren();
    again();
  };
  fill(place("token"), make("form", { class: "choice", on: { submit: enter } }, make("label", { for: "token-field" }, "Token of this service"), field, make("button", {}, "Enter")));
  field.focus();
}
