// Asking the service: JSON there and back; every failure becomes one sentence.

const TOKEN = "attlas-token";

/** What the service or the way to it refused, in a sentence for a person. */
export class Refusal extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** Whether somebody here stopped the asking. */
export const isAbort = (error) => error.name === "AbortError";

/** Keep the token of this tab. */
export const keepToken = (token) => sessionStorage.setItem(TOKEN, token);

/** What is at a path; `query` leaves out what is null. */
export function get(path, query = {}, signal) {
  const said = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return ask(`${path}?${new URLSearchParams(said)}`, { signal });
}

/** What the service answers to a body; what is null is not said. */
export function post(path, body, signal) {
  const said = JSON.stringify(body, (_, value) => (value === null ? undefined : value));
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: said, signal });
}

async function ask(path, { headers = {}, ...request }) {
  const token = sessionStorage.getItem(TOKEN);
  const brought = token ? { ...headers, Authorization: `Bearer ${token}` } : headers;
  let answer;
  try {
    answer = await fetch(path, { ...request, headers: brought });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Refusal("The service does not answer. Is attlas serve still running?", 0);
  }
  const found = await answer.json().catch((error) => {
    if (isAbort(error)) throw error;
    return { error: `The service answered ${answer.status} with something that is not JSON.` };
  });
  if (!answer.ok) throw new Refusal(found.error ?? `The service answered ${answer.status}.`, answer.status);
  return found;
}
