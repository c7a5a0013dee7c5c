// Jobs: sends a file that a worker scores, and shows how far the caller's jobs are.

import { onKey, request, upload } from "./api.js";
import { peek } from "./rows.js";
import { $, duration, element, followDrops, nameLike, save, showMessage } from "./view.js";

// One list has the state of all jobs. Live events would need a connection for each, and a browser has six for a service.
const BUSY_MS = 1500;
const IDLE_MS = 15000;
const MORE = 10;
const MOST = 100; // that a list may have
const PEEK_BYTES = 64 * 1024;
const SOON_MS = 60000;
const OPEN = ["pending", "running"];
const OVER = ["completed", "failed", "cancelled"];
const FORMATS = { csv: "CSV", tsv: "TSV", ndjson: "JSON lines", parquet: "Parquet" };

let maxBytes = null; // of an upload; null while it is not known that there are jobs
let file = null;
let delimiter = "";
let key = ""; // of the next upload, so that a repeated one makes no second job
let looking = null; // the search for its columns
let sending = null;
let limit = MORE;
let timer = 0;
let turn = 0;
const shown = new Map(); // by the id of a job

export function followJobs() {
  $("job-file").addEventListener("change", ({ target }) => { choose(target.files[0]); target.value = ""; });
  followDrops($("job-drop"), (data) => choose(data.files[0]));
  $("job-form").addEventListener("input", () => { key = ""; });
  $("job-form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("job-stop").addEventListener("click", () => sending?.abort());
  $("job-more-button").addEventListener("click", () => { limit = Math.min(MOST, limit + MORE); refresh(); });
  document.addEventListener("visibilitychange", refresh);
  onKey(() => { showList([], null); $("job-none").hidden = true; refresh(); });
}

// Shows the view if the service has jobs.
export function offerJobs({ limits }) {
  const before = maxBytes;
  maxBytes = limits.max_upload_bytes ?? null;
  $("jobs").hidden = maxBytes === null;
  if (before === null && maxBytes !== null) refresh();
}

function choose(chosen) {
  if (!chosen) return;
  file = chosen;
  key = delimiter = "";
  $("job-file-name").textContent = `${file.name}, ${sizeOf(file.size)}`;
  $("job-columns").replaceChildren();
  $("job-column").value = "";
  showMessage($("job-message"), "");
  $("job-start").focus();
  looking = lookInto(chosen);
}

// Finds the columns of a file and its delimiter.
async function lookInto(chosen) {
  const found = peek(await chosen.slice(0, PEEK_BYTES).text(), chosen.name);
  if (!found || chosen !== file) return;
  $("job-columns").replaceChildren(...found.columns.map((column) => new Option(column)));
  $("job-column").value ||= found.likely;
  delimiter = found.delimiter;
}

function sizeOf(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function send() {
  if (sending) return;
  if (!file) return showMessage($("job-message"), "Choose a file first.");
  if (file.size > maxBytes) return showMessage($("job-message"), `The file has ${sizeOf(file.size)}, and the service takes at most ${sizeOf(maxBytes)}.`);
  showMessage($("job-message"), "");
  sending = new AbortController();
  await looking;
  key ||= [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const form = new FormData();
  const fields = { text_column: $("job-column").value, priority: $("job-priority").value, delimiter: delimiter === "," ? "" : delimiter };
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  form.append("file", file, file.name);
  showSent(0);
  $("job-start").hidden = true;
  $("job-stop").hidden = $("job-sending").hidden = false;
  try {
    await upload("jobs/inference", form, { headers: { "Idempotency-Key": key }, signal: sending.signal, onProgress: showSent });
    file = null;
    key = "";
    $("job-file-name").textContent = "Drop another file here, or";
    await refresh();
  } catch (error) {
    if (error.name !== "AbortError") showMessage($("job-message"), error.message);
  }
  sending = null;
  const hadFocus = document.activeElement === $("job-stop");
  $("job-start").hidden = false;
  $("job-stop").hidden = $("job-sending").hidden = true;
  if (hadFocus) $("job-start").focus();
}

function showSent(share) {
  $("job-sent").value = share;
  $("job-sent-text").textContent = share < 1 ? `${Math.floor(share * 100)} % sent` : "The service stores the file.";
}

async function refresh() {
  clearTimeout(timer);
  if (maxBytes === null || document.hidden) return;
  const own = ++turn;
  let pauseMs = IDLE_MS;
  try {
    const { value } = await request(`jobs?limit=${limit}`);
    if (own !== turn) return;
    showList(value.jobs, value.cursor);
    showMessage($("job-list-message"), "");
    if (value.jobs.some(isBusy)) pauseMs = BUSY_MS;
  } catch (error) {
    if (own !== turn) return;
    showMessage($("job-list-message"), error.message);
    $("job-none").hidden = true;
    if ([401, 403].includes(error.status)) return; // until there is another key
    pauseMs = Math.max(pauseMs, error.retryAfterS * 1000);
  }
  timer = setTimeout(refresh, pauseMs);
}

function isBusy({ status, metadata }) {
  return status === "running" || (status === "pending" && !(Date.parse(metadata.run_at) > Date.now() + SOON_MS));
}

// Changes what is there, so that the focus stays where it is.
function showList(jobs, cursor) {
  const known = shown.size > 0;
  const ids = new Set(jobs.map(({ id }) => id));
  for (const [id, item] of shown) if (!ids.has(id)) drop(id, item);
  jobs.forEach((job, index) => {
    if (!shown.has(job.id)) shown.set(job.id, itemOf(job));
    const item = shown.get(job.id);
    if ($("job-list").children[index] !== item.node) $("job-list").insertBefore(item.node, $("job-list").children[index] ?? null);
    if (known && item.status !== job.status) $("job-spoken").textContent = `${nameOf(job)}: ${job.status}`;
    showItem(item, job);
  });
  $("job-none").hidden = jobs.length > 0;
  $("job-more").hidden = !cursor || limit >= MOST;
}

function drop(id, { node }) {
  const next = node.contains(document.activeElement) ? node.nextElementSibling ?? node.previousElementSibling : null;
  const hadFocus = node.contains(document.activeElement);
  node.remove();
  shown.delete(id);
  if (hadFocus) (next?.querySelector("button:not([hidden])") ?? $("job-start")).focus();
}

const nameOf = ({ id, metadata }) => metadata.name ?? id;

function itemOf(job) {
  const name = nameOf(job);
  const item = {
    id: job.id,
    name,
    type: job.type,
    tag: element("span", { className: "tag" }),
    progress: element("progress", { max: 1, ariaLabel: `Progress of ${name}` }),
    facts: element("p", { className: "hint grow" }),
    error: element("p", { className: "error grow" }),
    cancel: button("Cancel", name, () => act(item, () => end(item, OPEN))),
    remove: button("Remove", name, () => confirm(`Remove ${name} and its result?`) && act(item, () => end(item, OVER))),
    retry: button("Try again", name, () => act(item, () => request(`jobs/${job.id}/retry`, { method: "POST" }))),
    format: element("select", { ariaLabel: `Format of the result of ${name}` },
      ...Object.entries(FORMATS).map(([format, title]) => new Option(title, format))),
    download: button("Download", name, () => act(item, () => download(item))),
  };
  const created = element("time", { className: "hint", dateTime: job.created_at, textContent: timeOf(job.created_at) });
  const type = job.type === "inference" ? [] : [element("span", { className: "hint", textContent: job.type })];
  item.node = element("li", {},
    element("div", { className: "row" }, element("strong", { className: "grow", textContent: name }), ...type, created, item.tag),
    item.progress,
    element("div", { className: "row" }, item.facts, item.error, item.cancel, item.retry, item.format, item.download, item.remove));
  return item;
}

function button(title, name, act) {
  const node = element("button", { type: "button", textContent: title, ariaLabel: `${title}: ${name}` });
  node.addEventListener("click", act);
  return node;
}

function showItem(item, job) {
  const { status, progress, type } = job;
  const focused = item.node.contains(document.activeElement) ? document.activeElement : null;
  item.status = status;
  item.tag.textContent = item.tag.dataset.state = status;
  item.progress.hidden = status !== "running";
  if (progress.total === null) item.progress.removeAttribute("value");
  else item.progress.value = progress.total ? progress.done / progress.total : 1;
  showMessage(item.facts, factsOf(job));
  showMessage(item.error, status === "failed" ? job.error : "");
  item.cancel.hidden = !OPEN.includes(status);
  item.remove.hidden = !OVER.includes(status);
  item.retry.hidden = !["failed", "cancelled"].includes(status);
  item.download.hidden = status !== "completed";
  item.format.hidden = item.download.hidden || type === "training"; // a model is always tar
  if (focused?.hidden) item.node.querySelector("button:not([hidden]), select:not([hidden])")?.focus();
}

function factsOf({ type, status, progress, result, error, metadata, started_at, finished_at }) {
  const { done, total, per_s, eta_s } = progress;
  const count = (number) => number.toLocaleString("en");
  const unit = type === "training" ? "step" : "row";
  const units = `${count(done)} ${done === 1 ? unit : `${unit}s`}`;
  if (status === "pending") {
    if (Date.parse(metadata.run_at) > Date.now()) return `Begins at ${timeOf(metadata.run_at)}`;
    return error ? `Waits for another attempt, after: ${error}` : "Waits for a worker";
  }
  if (status === "running") {
    if (total === null) return "Looks through the file";
    const left = eta_s === null ? "" : `, ${duration(eta_s)} left`;
    const rate = per_s ? `, ${count(Math.round(per_s))} per second` : "";
    return `${count(done)} of ${count(total)} ${unit}s${rate}${left}`;
  }
  if (status !== "completed") return done ? `${units} ${done === 1 ? "is" : "are"} done` : "";
  const tookS = (Date.parse(finished_at) - Date.parse(started_at)) / 1000;
  const failed = result?.errors ? `, ${count(result.errors)} of them with an error` : "";
  return `${units} in ${duration(tookS)}${failed}`;
}

function timeOf(text) {
  return new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

async function act(item, work) {
  if (item.isBusy) return;
  item.isBusy = true;
  showMessage($("job-message"), "");
  try { await work(); }
  catch (error) { showMessage($("job-message"), `${item.name}: ${error.message}`); }
  item.isBusy = false;
  await refresh();
}

// Cancels or removes a job, which is the same request: what it does depends on the state, which may have changed.
async function end({ id }, statuses) {
  const { value } = await request(`jobs/${id}`);
  if (statuses.includes(value.status)) await request(`jobs/${id}`, { method: "DELETE" });
}

async function download(item) {
  const format = item.type === "training" ? "tar" : item.format.value;
  item.download.textContent = "Downloads …";
  try {
    const { value } = await request(`jobs/${item.id}/result?format=${format}`, { as: "blob" });
    save(value, item.type === "training" ? `${item.name}.tar` : nameLike(item.name, `scored.${format}`));
  } finally {
    item.download.textContent = "Download";
  }
}
