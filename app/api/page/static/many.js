// Many texts: reads a file, predicts its rows in lists, and shows and saves the predictions.

import { predictList, request } from "./api.js";
import { chosenLabels, chosenModel } from "./models.js";
import { readRows, writeCsv } from "./rows.js";
import { $, UNSURE, duration, element, followDrops, nameLike, percent, save, showBars, showMessage, tag, toggle } from "./view.js";

const PER_LIST = 64; // at most, if the service allows it
const LISTS_AT_ONCE = 3;
const PER_PAGE = 25;
const REFRESH_MS = 400;
const MAX_FILE_BYTES = 100e6;
const SAMPLE = [
  "The best purchase I have made all year.", "It stopped working on the second day.", "The parcel arrived on Tuesday.",
  "Could have been worse, could have been better.", "I will never order here again.", "Thank you, that solved it!",
  "Opening hours are nine to five.", "The plot is thin, but the cast is wonderful.", "Waited an hour for cold soup.",
  "Exactly as described.",
];

let table = null; // { columns, rows, column }
let file = "";
let results = []; // one per row: a prediction, an error, or undefined while it is not known
let labels = [];
let stopping = null;
let sort = { by: "row", up: true };
let page = 0;

export function followFiles() {
  $("file").addEventListener("change", ({ target }) => { readFile(target.files[0]); target.value = ""; });
  toggle($("paste-button"), $("paste-form"), $("rows"));
  $("paste-form").addEventListener("submit", (event) => { event.preventDefault(); read($("rows").value, "pasted rows"); });
  $("sample-button").addEventListener("click", () => { read(SAMPLE.join("\n"), "examples.txt"); start(); });
  followDrops($("drop"), (data) => {
    if (data.files[0]) readFile(data.files[0]);
    else read(data.getData("text/plain"), "dropped rows");
  });
  $("column").addEventListener("change", () => { table.column = Number($("column").value); });
  $("start").addEventListener("click", start);
  $("stop").addEventListener("click", () => stopping?.abort());
  $("download").addEventListener("click", download);
  for (const id of ["filter-label", "filter-text"]) $(id).addEventListener("input", () => { page = 0; showTable(); });
  $("previous").addEventListener("click", () => { page--; showTable(); });
  $("next").addEventListener("click", () => { page++; showTable(); });
  for (const head of document.querySelectorAll("th[data-sort]")) {
    head.firstElementChild.addEventListener("click", () => {
      sort = { by: head.dataset.sort, up: sort.by === head.dataset.sort ? !sort.up : head.dataset.sort !== "confidence" };
      showTable();
    });
  }
}

async function readFile(chosen) {
  if (!chosen) return;
  if (chosen.size > MAX_FILE_BYTES) return showMessage($("file-message"), "The file is larger than 100 MB. Use the command rt-sentiment score.");
  const bytes = await chosen.arrayBuffer();
  let source;
  try { source = new TextDecoder("utf-8", { fatal: true }).decode(bytes); }
  catch { return showMessage($("file-message"), "The file is not UTF-8 text. Save it as UTF-8 and try again."); }
  read(source, chosen.name);
}

function read(source, name) {
  stopping?.abort();
  try { table = readRows(source, name); }
  catch (error) { $("job").hidden = $("table").hidden = true; return showMessage($("file-message"), error.message); }
  showMessage($("file-message"), "");
  file = name;
  $("file-name").textContent = `${name}: ${table.rows.length} ${table.rows.length === 1 ? "row" : "rows"}`;
  $("column").replaceChildren(...table.columns.map((column, index) =>
    new Option(column || `column ${index + 1}`, index, false, index === table.column)));
  $("running").hidden = $("table").hidden = true;
  $("job").hidden = false;
  $("start").focus();
}

async function start() {
  if (!table) return;
  const own = stopping = new AbortController();
  const { rows, column } = table, model = chosenModel();
  results = new Array(rows.length);
  page = 0;
  sort = { by: "row", up: true };
  showMessage($("file-message"), "");
  $("start").hidden = true;
  $("stop").hidden = $("running").hidden = false;
  const startedMs = performance.now();
  let done = 0, next = 0, shownMs = 0, perList = PER_LIST;
  const show = (last = false) => {
    if (own !== stopping || (!last && performance.now() - shownMs < REFRESH_MS)) return;
    shownMs = performance.now();
    const perS = done / ((shownMs - startedMs) / 1000 || 1);
    $("progress").value = done / rows.length;
    const left = last || !done ? "" : `, ${duration((rows.length - done) / perS)} left`;
    $("progress-text").textContent = `${done} of ${rows.length} rows, ${Math.round(perS)} per second${left}`;
    showResults();
  };
  const work = async () => {
    while (next < rows.length) {
      const first = next;
      next = Math.min(rows.length, first + perList);
      const predictions = await predictList(rows.slice(first, next).map((row) => row[column]), own.signal, model);
      predictions.forEach((prediction, index) => { results[first + index] = prediction; });
      done += predictions.length;
      show();
    }
  };
  try {
    const info = await request("info", { signal: own.signal }).then(({ value }) => value, () => null); // may need a key
    labels = chosenLabels() ?? info?.labels ?? [];
    perList = Math.min(PER_LIST, info?.limits.max_batch_texts ?? PER_LIST);
    await Promise.all(Array.from({ length: LISTS_AT_ONCE }, work));
  } catch (error) {
    own.abort();
    if (own === stopping && error.name !== "AbortError") showMessage($("file-message"), `${error.message} ${done} rows are done.`);
  }
  if (own !== stopping) return;
  show(true);
  stopping = null;
  $("start").hidden = false;
  $("start").textContent = "Predict again";
  $("stop").hidden = true;
}

function showResults() {
  const predictions = results.filter((result) => result && !result.error);
  const failed = results.filter((result) => result?.error).length;
  for (const { label } of predictions) if (label && !labels.includes(label)) labels.push(label);
  const counts = new Map(labels.map((label) => [label, 0]));
  const unsure = predictions.filter(({ label }) => !label).length;
  const bins = new Array(10).fill(0);
  for (const { label, confidence } of predictions) {
    if (label) counts.set(label, counts.get(label) + 1);
    bins[Math.min(9, Math.floor(confidence * 10))]++;
  }
  const entries = [...counts, ...(unsure ? [[UNSURE, unsure]] : []), ...(failed ? [["error", failed]] : [])];
  const total = predictions.length + failed || 1;
  showBars($("mix"), entries.map(([label, count]) => [label, count / total, `${count}`]), labels);
  showHistogram(bins);
  const chosen = $("filter-label").value;
  const options = ["", ...labels, ...(unsure ? [UNSURE] : []), ...(failed ? ["error"] : [])];
  if (options.join() !== [...$("filter-label").options].map((option) => option.value).join()) {
    $("filter-label").replaceChildren(...options.map((label) => new Option(label || "all", label, false, label === chosen)));
  }
  $("table").hidden = false;
  showTable();
}

function showHistogram(bins) {
  const most = Math.max(...bins, 1);
  const used = bins.findIndex((count) => count > 0);
  $("histogram").replaceChildren(...bins.slice(Math.max(0, Math.min(used, 5))).map((count, index, shown) => {
    const low = (10 - shown.length + index) * 10;
    const fill = element("span", { className: "fill" });
    fill.style.setProperty("--share", count / most);
    const stem = element("span", { className: "stem" }, String(count), fill);
    return element("li", { title: `${count} with ${low} to ${low + 10} %` }, stem, element("span", { textContent: `${low}–${low + 10} %` }));
  }));
}

const nameOf = (result) => (result.error ? "error" : (result.label ?? UNSURE));

function chosenRows() {
  const label = $("filter-label").value, search = $("filter-text").value.trim().toLowerCase();
  const texts = table.rows, column = table.column;
  const chosen = [];
  results.forEach((result, index) => {
    if (!result || (label && nameOf(result) !== label)) return;
    if (search && !texts[index][column].toLowerCase().includes(search)) return;
    chosen.push(index);
  });
  const key = {
    row: (index) => index,
    text: (index) => texts[index][column].toLowerCase(),
    label: (index) => nameOf(results[index]),
    confidence: (index) => results[index].confidence ?? -1,
  }[sort.by];
  const order = (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a - b);
  return chosen.sort(sort.up ? order : (a, b) => -order(a, b));
}

function showTable() {
  const rows = chosenRows();
  const pages = Math.max(1, Math.ceil(rows.length / PER_PAGE));
  page = Math.min(Math.max(0, page), pages - 1);
  $("predictions").replaceChildren(...rows.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map((index) => {
    const result = results[index];
    return element("tr", {},
      element("td", { textContent: index + 1 }),
      element("td", { textContent: table.rows[index][table.column] }),
      element("td", {}, result.error ? result.error.detail : tag(nameOf(result), labels)),
      element("td", { textContent: result.error ? "" : percent(result.confidence) }));
  }));
  $("page").textContent = `${rows.length} rows, page ${page + 1} of ${pages}`;
  $("previous").disabled = page === 0;
  $("next").disabled = page >= pages - 1;
  for (const head of document.querySelectorAll("th[data-sort]")) {
    if (head.dataset.sort === sort.by) head.setAttribute("aria-sort", sort.up ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
}

function download() {
  const head = [...table.columns, "label", "confidence", ...labels.map((label) => `score_${label}`), "truncated", "error"];
  const rows = table.rows.map((row, index) => {
    const { label = "", confidence = "", scores = {}, truncated = "", error } = results[index] ?? {};
    return [...row, label ?? "", confidence, ...labels.map((name) => scores[name] ?? ""), truncated, error?.detail ?? ""];
  });
  save(new Blob(["\ufeff", writeCsv([head, ...rows])], { type: "text/csv" }), nameLike(file, "predictions.csv"));
}
