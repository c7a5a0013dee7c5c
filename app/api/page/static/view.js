// Small helpers that several parts of the page share.

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

export const UNSURE = "unsure"; // in place of a label that is null

export const percent = (share) => `${(share * 100).toFixed(1)} %`;

// The same label always has the same tone. Tones never carry meaning alone: the label is written beside them.
const KNOWN = { negative: 0, neutral: 1, positive: 2 };
export function toneOf(label, labels) {
  const number = KNOWN[label?.toLowerCase()] ?? 3 + (Math.max(0, labels.indexOf(label)) % 3);
  return `var(--c${number})`;
}

export function tag(label, labels) {
  const node = element("span", { className: "tag", textContent: label });
  node.style.setProperty("--tone", toneOf(label, labels));
  return node;
}

// One bar per entry of [name, share, value as text].
export function showBars(list, entries, labels) {
  list.replaceChildren(...entries.map(([name, share, value]) => {
    const fill = element("span", { className: "fill" });
    fill.style.setProperty("--share", share);
    fill.style.setProperty("--tone", toneOf(name, labels));
    const track = element("span", { className: "track" }, fill);
    track.setAttribute("aria-hidden", "true");
    return element("li", {}, element("span", { textContent: name }), track,
      element("span", { className: "value", textContent: value }));
  }));
}

export function showMessage(node, text) {
  node.textContent = text;
  node.hidden = !text;
}

export function toggle(button, panel, focus) {
  button.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) focus.focus();
  });
}

export function followDrops(zone, take) {
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer);
  });
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// The name of what was made from a file.
export const nameLike = (file, ending) => `${file.replace(/\.\w+$/, "").replaceAll(" ", "-")}-${ending}`;

// Lets the browser save a blob.
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
