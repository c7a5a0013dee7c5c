// The status strip: who answers, how much, how fast.

import { onKey, request } from "./api.js";

const EVERY_MS = 4000;
const cells = Object.fromEntries([...document.querySelectorAll("[data-status]")].map((cell) => [cell.dataset.status, cell]));
let previous = null;
let onInfo = () => {};

function show(name, text) {
  cells[name].textContent = text;
}

// Adds up the samples of a metric by one of its labels, for one handler if it has any.
function samples(text, name, label) {
  const totals = new Map();
  for (const line of text.split("\n")) {
    if (!line.startsWith(`${name}{`)) continue;
    if (line.includes("handler=") && !/handler="\/predict(\/batch)?"/.test(line)) continue;
    const value = Number(line.slice(line.lastIndexOf(" ") + 1));
    const key = line.match(new RegExp(`[{,]${label}="([^"]*)"`))?.[1] ?? "";
    totals.set(key, (totals.get(key) ?? 0) + value);
  }
  return totals;
}

function quantile(buckets, share) {
  const bounds = [...buckets].map(([bound, count]) => [bound === "+Inf" ? Infinity : Number(bound), count]).sort((a, b) => a[0] - b[0]);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (!total) return null;
  let lower = 0, below = 0;
  for (const [bound, count] of bounds) {
    if (count >= share * total) return bound === Infinity ? lower : lower + (bound - lower) * (share * total - below) / (count - below || 1);
    [lower, below] = [bound, count];
  }
  return null;
}

function difference(after, before) {
  return new Map([...after].map(([key, value]) => [key, value - (before?.get(key) ?? 0)]));
}

const sum = (totals) => [...totals.values()].reduce((a, b) => a + b, 0);

async function showTraffic() {
  const { value: text } = await request("metrics", { as: "text" });
  const now = {
    at: performance.now(),
    requests: samples(text, "http_requests_total", "status"),
    seconds: samples(text, "http_request_duration_seconds_bucket", "le"),
    cache: samples(text, "sentiment_cache_total", "outcome"),
  };
  const hits = now.cache.get("hit") ?? 0, looked = sum(now.cache);
  show("hits", looked ? `${Math.round(100 * hits / looked)} %` : "–");
  if (previous) {
    const rate = Math.max(0, sum(difference(now.requests, previous.requests))) / ((now.at - previous.at) / 1000);
    show("rate", rate < 10 ? rate.toFixed(1) : String(Math.round(rate)));
  }
  const p95 = (previous && quantile(difference(now.seconds, previous.seconds), 0.95)) ?? quantile(now.seconds, 0.95);
  show("p95", p95 === null ? "–" : `${(p95 * 1000).toFixed(p95 < 0.01 ? 1 : 0)} ms`);
  previous = now;
}

async function refresh() {
  if (document.hidden) return;
  try {
    const { value: health } = await request("healthz");
    cells.state.className = "ok";
    show("state", "ready");
    show("backend", `${health.backend}, ${health.device}`);
    show("model", health.model);
  } catch (error) {
    cells.state.className = "down";
    show("state", error.status === 503 ? "not ready" : "no answer");
    return;
  }
  try {
    const { value: info } = await request("info");
    show("version", info.model_version || info.build.version);
    onInfo(info);
    await showTraffic();
  } catch { /* without a key, or behind a proxy that hides metrics, these fields stay empty */ }
}

// `listener` gets what the service says about itself, whenever it does.
export function followStatus(listener) {
  onInfo = listener;
  refresh();
  setInterval(refresh, EVERY_MS);
  document.addEventListener("visibilitychange", refresh);
  onKey(refresh);
}
