// The models of the service and their versions, and which model predicts. Nothing of it is shown if there is only one.

import { request } from "./api.js";
import { $, element, percent } from "./view.js";

let models = [];
const listeners = new Set();

export function followModels() {
  $("model").addEventListener("change", () => { for (const listener of listeners) listener(); });
}

export function onModel(listener) {
  listeners.add(listener);
}

// What a request for a prediction has to say about the model.
export const chosenModel = () => (models.length > 1 && $("model").value ? { model: $("model").value } : {});

// The labels of the chosen model; null if it is the default one, or not known.
export function chosenLabels() {
  const chosen = models.find(({ name }) => name === chosenModel().model);
  return chosen?.versions.find(({ share }) => share > 0)?.labels ?? null;
}

const several = () => models.flatMap(({ versions }) => versions).length > 1;

// Says which version has answered, if it could have been another one.
export const answeredBy = (headers) => (several() ? `, by ${headers.get("X-Model")}` : "");

export async function showModels() {
  const answer = await request("models").catch(() => null); // a proxy may hide it
  if (!answer) return;
  ({ models } = answer.value);
  showChoice();
  $("models").hidden = !several();
  $("versions").replaceChildren(...models.flatMap((model) => model.versions.map((version) => rowOf(model, version))));
}

function showChoice() {
  const names = models.map(({ name }) => name);
  $("model-field").hidden = names.length < 2;
  if (names.join() === [...$("model").options].map(({ value }) => value).join()) return;
  const before = $("model").value;
  $("model").replaceChildren(...models.map(({ name, default: isDefault }) => new Option(isDefault ? `${name} (default)` : name, name, false, name === before)));
  if ($("model").value !== before && before) for (const listener of listeners) listener();
}

function rowOf(model, version) {
  const state = element("span", { className: "tag", textContent: version.state });
  state.dataset.state = version.state;
  const reason = version.reason ? element("p", { className: "hint", textContent: version.reason }) : "";
  const { golden, compared } = version;
  return element("tr", {},
    element("th", { scope: "row", textContent: model.default ? `${model.name} (default)` : model.name }),
    element("td", { textContent: version.version ?? version.source }),
    element("td", {}, state, reason),
    element("td", { textContent: version.shadow ? "shadow" : version.weight }),
    element("td", { textContent: percent(version.share) }),
    element("td", { textContent: golden ? `${golden.agreeing} of ${golden.texts}` : "–" }),
    element("td", { textContent: compared ? `${percent(compared.agreeing / compared.texts)} of ${compared.texts}` : "–" }),
    element("td", { textContent: version.requests }));
}
