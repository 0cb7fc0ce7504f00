// ParameterExplorer: how many parameters a GPT has, and where they are.
import { paramsByGroup } from "../browser/parameters.js";
import {
  assign,
  chooser,
  element,
  frame,
  heading,
  listener,
  liveText,
  number,
  oncePerFrame,
  percent,
  range,
  settingsOf,
  slider,
} from "./controls.js";

const steps = (first, last, step) => range(0, (last - first) / step).map((n) => first + n * step);
const WIDTHS = [
  ...steps(64, 2048, 64),
  ...steps(2304, 5120, 256),
  ...steps(5632, 8192, 512),
  ...steps(9216, 16384, 1024),
];
const VOCABULARIES = [
  256, 512, 1024, 2048, 4096, 8192, 16384, 32000, 32768, 40478, 50000, 50257, 50304, 65536, 100277, 128256, 200019,
];
const CONTEXTS = range(5, 17).map((power) => 2 ** power);
const TRAITS = ["n_layers", "d_model", "n_heads", "vocab_size", "context_length", "tie_weights"];

const divisors = (n) => range(1, Math.min(n, 128)).filter((d) => n % d === 0);

/** The sliders; the heads stay such that they divide the width. */
function slidersOf(model, listen) {
  const fit = (width) => {
    if (width % model.get("n_heads") === 0) return;
    const below = divisors(width).filter((d) => d < model.get("n_heads"));
    assign(model, "n_heads", below[below.length - 1]);
  };
  const heads = () => divisors(model.get("d_model"));
  const made = [
    { trait: "n_layers", label: "Layers L", values: range(1, 128) },
    { trait: "d_model", label: "Width C", values: WIDTHS, moved: fit },
    { trait: "n_heads", label: "Heads H", values: heads },
    { trait: "vocab_size", label: "Vocabulary V", values: VOCABULARIES },
    { trait: "context_length", label: "Context length", values: CONTEXTS },
  ].map((options) => slider(model, listen, options));
  listen.on(["d_model"], made[2].update);
  return element("div", { class: "mgw-sliders" }, ...made.map(({ node }) => node));
}

/** The table: a row for each group of parameters. */
function tableOf(groups) {
  const cell = () => element("td", { class: "mgw-number" });
  const rows = groups.map((group, i) => {
    const swatch = element("span", { class: `mgw-swatch mgw-part-${i}`, "aria-hidden": "true" });
    return element("tr", {}, element("th", { scope: "row" }, swatch, group), cell(), cell());
  });
  const headings = [heading("where", ""), heading("parameters", "mgw-number"), heading("share", "mgw-number")];
  const table = element(
    "table",
    { class: "mgw-plain" },
    element("thead", {}, element("tr", {}, ...headings)),
    element("tbody", {}, ...rows),
  );
  return { table, rows };
}

/** The widget's elements in its frame, of which those that change or are listened to come back. */
function build(root, model, listen, presets) {
  const names = [...presets.keys()];
  const options = [["", "your own"], ...names.map((name) => [name, name])];
  const { node: presetChooser, select } = chooser("Model", options, (name) => {
    for (const trait of TRAITS) if (name) model.set(trait, presets.get(name)[trait]);
    model.save_changes();
  });
  const sliders = slidersOf(model, listen);
  const tie = element("input", { type: "checkbox" });
  tie.addEventListener("change", () => assign(model, "tie_weights", tie.checked));
  const total = element("span", { class: "mgw-total" });
  const note = element("p", { class: "mgw-summary" });
  const groups = Object.keys(paramsByGroup({}));
  const parts = groups.map((_, i) => element("div", { class: `mgw-part mgw-part-${i}` }));
  const { table, rows } = tableOf(groups);
  const spoken = liveText();
  root.append(
    presetChooser,
    sliders,
    element("label", { class: "mgw-line" }, tie, element("span", {}, "the output head is the token embedding (tied)")),
    element("p", { class: "mgw-headline" }, total, " parameters"),
    element("div", { class: "mgw-stack", "aria-hidden": "true" }, ...parts),
    note,
    table,
    spoken.node,
  );
  return { select, tie, total, note, parts, rows, spoken };
}

/** How many parameters there are with the settings, by group, and what is to be said about the heads. */
function compute(settings) {
  const { n_layers: nLayers, d_model: dModel, n_heads: nHeads } = settings;
  const { vocab_size: vocabSize, context_length: contextLength, tie_weights: tieWeights } = settings;
  const groups = Object.entries(paramsByGroup({ vocabSize, contextLength, dModel, nLayers, tieWeights }));
  const sum = groups.reduce((total, [, params]) => total + params, 0);
  const each = `${number(nHeads)} ${nHeads === 1 ? "head is" : "heads are"} ${number(dModel / nHeads)} wide each.`;
  const note =
    dModel % nHeads
      ? `No such model: ${number(nHeads)} heads cannot share out a width of ${number(dModel)}.`
      : `${each} The number of heads changes no count.`;
  return { groups: groups.map(([group, params]) => ({ group, params, share: params / sum })), sum, note };
}

function draw(view, { groups, sum, note }) {
  view.total.textContent = number(sum);
  groups.forEach(({ params, share }, i) => {
    view.parts[i].style.width = `${(100 * params) / sum}%`;
    view.rows[i].cells[1].textContent = number(params);
    view.rows[i].cells[2].textContent = percent(share);
  });
  view.note.textContent = note;
  const said = groups.map(({ group, share }) => `${group} ${percent(share)}`);
  view.spoken.say(`${number(sum)} parameters: ${said.join(", ")}.`);
}

function render({ model, el }) {
  const listen = listener(model);
  const presets = new Map(model.get("presets"));
  const view = build(frame(el, "Parameter explorer"), model, listen, presets);
  const redraw = () => {
    const settings = settingsOf(model, TRAITS);
    const preset = [...presets].find(([, values]) => TRAITS.every((trait) => values[trait] === settings[trait]));
    view.select.value = preset?.[0] ?? "";
    view.tie.checked = settings.tie_weights;
    draw(view, compute(settings));
  };
  const schedule = oncePerFrame(redraw);
  view.select.addEventListener("change", schedule); // puts the chooser right if nothing has changed
  listen.on(TRAITS, schedule);
  redraw();
  return () => {
    listen.stop();
    view.spoken.stop();
  };
}

export default { render };
