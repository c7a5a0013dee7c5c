// One text: the prediction while you type, then the words that decide it.

import { onKey, request } from "./api.js";
import { answeredBy, chosenModel, onModel } from "./models.js";
import { $, UNSURE, element, percent, showBars, showMessage, toneOf } from "./view.js";

const PREDICT_AFTER_MS = 200;
const EXPLAIN_AFTER_MS = 500;
const EXPLAINED_CHARS = 1000; // a longer text takes seconds
const FAINT = 0.12; // words below this share of the strongest one are not coloured

let labels = [];
let timer = 0;
let current = new AbortController();

export function followText() {
  $("text").addEventListener("input", () => later(PREDICT_AFTER_MS));
  for (const button of document.querySelectorAll(".examples button")) {
    button.addEventListener("click", () => {
      $("text").value = button.textContent;
      later(0);
    });
  }
  onKey(() => later(0));
  onModel(() => later(0));
}

function later(milliseconds) {
  clearTimeout(timer);
  current.abort();
  current = new AbortController();
  const { signal } = current;
  timer = setTimeout(() => update($("text").value, signal), milliseconds);
}

async function update(text, signal) {
  if (!text.trim()) {
    $("result").hidden = true;
    showMessage($("message"), "");
    return;
  }
  try {
    const startedMs = performance.now();
    const { value, headers } = await request("predict", { body: { text, ...chosenModel() }, signal });
    const tookMs = performance.now() - startedMs;
    showMessage($("message"), "");
    showPrediction(value, tookMs, headers);
    await new Promise((resolve) => setTimeout(resolve, EXPLAIN_AFTER_MS));
    if (signal.aborted || text.length > EXPLAINED_CHARS) return;
    const explained = await request("predict", { body: { text, explain: true, ...chosenModel() }, signal }).catch((error) => {
      if (error.name === "AbortError" || ![429, 503, 504].includes(error.status)) throw error;
      return null; // the service is busy: the prediction stays
    });
    if (explained) showWords(text, likeliest(explained.value), explained.value.explanation);
  } catch (error) {
    if (error.name === "AbortError") return;
    $("result").hidden = true;
    showMessage($("message"), error.message);
  }
}

function showPrediction({ label, confidence, scores, truncated }, tookMs, headers) {
  labels = Object.keys(scores);
  $("label").textContent = label ?? UNSURE;
  $("label").style.setProperty("--tone", toneOf(label, labels));
  $("confidence").textContent = percent(confidence);
  const server = headers.get("Server-Timing")?.match(/total;dur=([\d.]+)/)?.[1];
  const cached = headers.get("X-Cache") === "hit" ? ", from the cache" : "";
  $("time").textContent = `${tookMs.toFixed(0)} ms${server ? `, of which ${Number(server).toFixed(1)} ms in the service` : ""}${cached}${answeredBy(headers)}`;
  showBars($("scores"), Object.entries(scores).map(([name, score]) => [name, score, percent(score)]), labels);
  $("spoken").textContent = `${label ?? UNSURE}, ${percent(confidence)}`;
  $("truncated").hidden = !truncated;
  $("explanation").hidden = true;
  $("result").hidden = false;
}

// The explanation is of the most likely class, also if the model is not sure enough to answer with it.
function likeliest({ label, scores }) {
  return label ?? Object.keys(scores).reduce((best, name) => (scores[name] > scores[best] ? name : best));
}

function showWords(text, label, explanation) {
  const characters = [...text]; // the service counts characters, not UTF-16 units
  const strongest = Math.max(...explanation.map(({ weight }) => Math.abs(weight)), 1e-9);
  const nodes = [];
  let position = 0;
  for (const { start, end, weight } of explanation) {
    nodes.push(characters.slice(position, start).join(""));
    const word = characters.slice(start, end).join("");
    const strength = Math.abs(weight) / strongest;
    if (strength < FAINT) nodes.push(word);
    else {
      const mark = element("span", { className: `word ${weight > 0 ? "for" : "against"}`, textContent: word, title: signed(weight) });
      mark.style.setProperty("--strength", strength.toFixed(2));
      nodes.push(mark);
    }
    position = end;
  }
  nodes.push(characters.slice(position).join(""));
  $("words").replaceChildren(...nodes);
  for (const node of document.querySelectorAll("[data-label]")) node.textContent = label;
  const ranked = explanation.toSorted((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, 3);
  $("words-spoken").textContent = ranked.length
    ? `Strongest: ${ranked.map(({ start, end, weight }) => `“${shorten(characters.slice(start, end).join(""))}” ${signed(weight)}`).join(", ")}.`
    : "";
  $("explanation").hidden = !explanation.length;
}

function shorten(word) {
  return word.length > 24 ? `${word.slice(0, 24)}…` : word;
}

function signed(weight) {
  return `${weight > 0 ? "+" : "−"}${Math.abs(weight).toFixed(2)}`;
}
