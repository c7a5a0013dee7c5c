// Requests to the service. All addresses are relative, so that the page works below any path prefix.

let key = "";
const listeners = new Set();

export class Problem extends Error {
  constructor(status, detail, retryAfterS = 0) {
    super(detail);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

export function setKey(value) {
  key = value.trim();
  for (const listener of listeners) listener();
}

export function onKey(listener) {
  listeners.add(listener);
}

// Returns the content `as` JSON, text or a blob; null if there is none.
export async function request(path, { method, body, signal, as = "json" } = {}) {
  const headers = authorization();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    method ??= body === undefined ? "GET" : "POST";
    response = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body), cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The service cannot be reached.");
  }
  if (!response.ok) throw await problemOf(response);
  return { value: response.status === 204 ? null : await response[as](), headers: response.headers };
}

// Sends a form. Unlike fetch, an XMLHttpRequest says how much has been sent.
export function upload(path, form, { headers, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", path);
    for (const [name, value] of Object.entries({ ...authorization(), ...headers })) sending.setRequestHeader(name, value);
    sending.upload.onprogress = ({ loaded, total }) => onProgress(loaded / total);
    sending.onload = async () => {
      const retryAfter = sending.getResponseHeader("Retry-After");
      const answer = new Response(sending.responseText, {
        status: sending.status, headers: retryAfter ? { "Retry-After": retryAfter } : {},
      });
      if (!answer.ok) return reject(await problemOf(answer));
      answer.json().then(resolve, reject);
    };
    sending.onerror = () => reject(new Problem(0, "The connection to the service broke. Press the button again; this makes no second job."));
    sending.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => sending.abort(), { once: true });
    sending.send(form);
  });
}

function authorization() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function problemOf(response) {
  const retryAfterS = Number(response.headers.get("Retry-After")) || 0;
  let detail = `The service answered with status ${response.status}.`;
  if (response.status === 401) detail = "The service requires an API key. Enter it with the button “API key”.";
  else if (response.status === 403) detail = "The API key is not valid, or may not do this.";
  else {
    try {
      const problem = await response.json();
      detail = problem.detail ?? detail;
    } catch { /* a proxy may answer with something else than JSON */ }
    if (response.status === 429) detail = `The service refuses this for now: ${detail}. Try again in ${retryAfterS || 1} s.`;
  }
  return new Problem(response.status, detail, retryAfterS);
}

// Predict a list; retry while the service is busy.
export async function predictList(texts, signal, options = {}) {
  for (let attempt = 0; ; attempt++) {
    try {
      const { value } = await request("predict/batch", { body: { texts, partial: true, ...options }, signal });
      return value.predictions;
    } catch (error) {
      const busy = error instanceof Problem && [0, 429, 503].includes(error.status);
      if (!busy || attempt >= 8) throw error;
      await pause(Math.max(error.retryAfterS, 0.5 * 2 ** Math.min(attempt, 4)), signal);
    }
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
