// MemoryExplorer: how many bytes a training step needs, and when it is fullest.
import { STAGES, PARTS, fullest, impossible, stepStages } from "../browser/memory.js";
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

const BATCHES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const GPU_GIGABYTES = [8, 12, 16, 24, 40, 80, 141];
const SETTINGS = ["batch_size", "sequence_length", "precision", "optimizer", "attention", "checkpointing", "device"];
const CHOICES = {
  precision: ["Precision", ["fp32", "amp-bf16", "amp-fp16", "bf16"]],
  optimizer: ["Optimizer", ["adamw", "adamw-fused", "adamw-foreach", "sgd", "sgd-momentum"]],
  attention: ["Attention", ["explicit", "fused"]],
  device: ["Device", ["cuda", "cpu"]],
};
const SHOWN = {
  parameters: "parameters",
  gradients: "gradients",
  optimizer: "optimizer states",
  saved: "saved activations",
  temporaries: "temporaries",
};
const WHY = {
  "forward of a block": "The last block computes, and all that forward has kept so far for backward is there.",
  "end of forward": "All that backward will need is there, and the loss is computed from the logits.",
  "start of backward":
    "All that forward has kept is still there, and beside the logits stand two gradients of their shape.",
  "backward of the head": "The head computes its gradients, and what the blocks have kept is still there.",
  "backward of a block": "A block computes its gradients; those below it, if any, still hold what they have kept.",
  "end of backward": "All gradients are there. The token embedding's is the last to be finished.",
  "optimizer step": "Activations are gone, all gradients are there, and the optimizer updates the parameters.",
};
const NOT_COUNTED =
  "Only tensors are counted, and a GPU's GB as 10⁹ bytes. The CUDA context, " +
  "the libraries' workspaces and gaps between tensors come on top.";

/** The controls: a model, two sliders, four choices and a switch, which move the traits. */
function buildControls(model, listen) {
  const configs = new Map(model.get("configs"));
  const longest = () => configs.get(model.get("config_name")).context_length;
  const { node: configChooser, select } = chooser(
    "Model",
    [...configs.keys()].map((name) => [name, name]),
    (name) => {
      model.set("config_name", name);
      if (model.get("sequence_length") > longest()) model.set("sequence_length", null);
      model.save_changes();
    },
  );
  const powers = range(4, 20).map((power) => 2 ** power);
  const lengths = slider(model, listen, {
    trait: "sequence_length",
    label: "Sequence length T",
    values: () => [...powers.filter((length) => length < longest()), longest()],
    toTrait: (length) => (length === longest() ? null : length),
    fromTrait: (length) => length ?? longest(),
  });
  listen.on(["config_name"], lengths.update);
  const batches = slider(model, listen, { trait: "batch_size", label: "Batch size B", values: BATCHES });
  const choices = Object.entries(CHOICES).map(([trait, [label, values]]) => {
    const pairs = values.map((value) => [value, value]);
    const made = chooser(label, pairs, (value) => assign(model, trait, value));
    made.select.dataset.trait = trait;
    return made;
  });
  const checkpointing = element("input", { type: "checkbox", "data-trait": "checkpointing" });
  checkpointing.addEventListener("change", () => assign(model, "checkpointing", checkpointing.checked));
  const nodes = [
    configChooser,
    element("div", { class: "mgw-sliders" }, batches.node, lengths.node),
    element("div", { class: "mgw-choices" }, ...choices.map((made) => made.node)),
    element("label", { class: "mgw-line" }, checkpointing, element("span", {}, "checkpointing")),
  ];
  return { nodes, select, choices, checkpointing, configs };
}

/** A stage's row: its name, a bar of its parts, its total. */
function buildStage(name) {
  const bar = PARTS.map((part) => element("div", { class: `mgw-part mgw-${part}` }));
  const stack = element("div", { class: "mgw-stack", role: "img" }, ...bar);
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, name),
    element("td", { class: "mgw-wide" }, stack),
    element("td", { class: "mgw-number" }),
  );
}

/** A part's row: its colour and name, its bytes and its share of the peak. */
function buildPart(part) {
  const swatch = element("span", { class: `mgw-swatch mgw-${part}`, "aria-hidden": "true" });
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, swatch, SHOWN[part]),
    element("td", { class: "mgw-number" }),
    element("td", { class: "mgw-number" }),
  );
}

function table(classes, headings, rows) {
  const head = element("thead", {}, element("tr", {}, ...headings));
  return element("table", { class: classes }, head, element("tbody", {}, ...rows));
}

/** Everything below the controls, empty as yet. */
function buildResults() {
  const view = {
    refusal: element("p", { class: "mgw-summary mgw-refusal" }),
    total: element("span", { class: "mgw-total" }),
    binary: element("span"),
    name: element("strong"),
    why: element("p", { class: "mgw-summary" }),
    unit: heading("", "mgw-number"),
    stages: STAGES.map(buildStage),
    parts: PARTS.map(buildPart),
    fits: element("p", { class: "mgw-headline" }),
    cards: GPU_GIGABYTES.map((size) => element("li", {}, element("strong", {}, `${size} GB`), element("span"))),
    spoken: liveText(),
  };
  const cards = element("ul", { class: "mgw-cards" }, ...view.cards);
  view.gpus = element("div", {}, view.fits, cards, element("p", { class: "mgw-small" }, NOT_COUNTED));
  const stageHeadings = [heading("stage of a step", ""), element("td", { class: "mgw-wide" }), view.unit];
  const partHeadings = [heading("at the peak", ""), heading("bytes", "mgw-number"), heading("share", "mgw-number")];
  view.results = element(
    "div",
    {},
    element("p", { class: "mgw-headline" }, view.total, view.binary, " at the fullest stage: ", view.name),
    view.why,
    table("mgw-stages", stageHeadings, view.stages),
    table("mgw-plain mgw-parts", partHeadings, view.parts),
    view.gpus,
  );
  return view;
}

/** What is to be seen for a configuration and settings: why there is no such step, or the stages and what fits. */
function compute(config, settings) {
  const refused = impossible(config, settings);
  if (refused) return { refused: `No such step. ${refused}` };
  const all = stepStages(config, settings);
  const peak = fullest(all);
  const stages = STAGES.map((name) => all.filter((stage) => stage.name === name)).map((those) =>
    those.length > 0 ? fullest(those) : null,
  );
  const left = GPU_GIGABYTES.map((gigabytes) => 1e9 * gigabytes - peak.total);
  const smallest = GPU_GIGABYTES[left.findIndex((bytes) => bytes >= 0)];
  const fits = `The tensors fit on ${smallest ? `a GPU of ${smallest} GB` : "none of these GPUs"}.`;
  return { peak, stages, left, fits, isOnGpu: settings.device !== "cpu" };
}

function drawControls({ select, choices, checkpointing }, name, settings) {
  select.value = name;
  for (const made of choices) made.select.value = settings[made.select.dataset.trait];
  checkpointing.checked = settings.checkpointing;
}

function drawResults(view, { refused, peak, stages, left, fits, isOnGpu }) {
  view.refusal.textContent = refused ?? "";
  view.refusal.hidden = !refused;
  view.results.hidden = Boolean(refused);
  if (refused) {
    view.spoken.say(refused);
    return;
  }
  const [unit, scale, binaryUnit, binaryScale, decimals] =
    peak.total < 1e9 ? ["MB", 1e6, "MiB", 2 ** 20, 1] : ["GB", 1e9, "GiB", 2 ** 30, 2];
  const scaled = (bytes) => number(bytes / scale, decimals);
  view.total.textContent = `${scaled(peak.total)} ${unit}`;
  view.binary.textContent = ` (${number(peak.total / binaryScale, decimals)} ${binaryUnit})`;
  view.name.textContent = peak.name;
  view.why.textContent = WHY[peak.name];
  view.unit.textContent = unit;
  stages.forEach((stage, i) => {
    view.stages[i].hidden = stage === null;
    if (stage !== null) drawStage(view.stages[i], stage, peak, scaled, unit);
  });
  PARTS.forEach((part, i) => {
    view.parts[i].cells[1].textContent = number(peak[part]);
    view.parts[i].cells[2].textContent = percent(peak[part] / peak.total);
  });
  view.gpus.hidden = !isOnGpu;
  view.cards.forEach((card, i) => {
    card.classList.toggle("mgw-cut", left[i] < 0);
    card.lastChild.textContent = left[i] < 0 ? "too small" : `${number(left[i] / 1e9, 1)} left`;
  });
  view.fits.textContent = fits;
  const fit = isOnGpu ? ` ${fits}` : "";
  view.spoken.say(`${view.total.textContent}${view.binary.textContent} at the fullest stage: ${peak.name}.${fit}`);
}

function drawStage(row, stage, peak, scaled, unit) {
  row.classList.toggle("mgw-peak", stage === peak);
  const bar = row.cells[1].firstChild;
  bar.setAttribute("aria-label", PARTS.map((part) => `${SHOWN[part]} ${scaled(stage[part])} ${unit}`).join(", "));
  PARTS.forEach((part, i) => {
    bar.children[i].hidden = stage[part] === 0;
    bar.children[i].style.width = `${(100 * stage[part]) / peak.total}%`;
    row.dataset[part] = stage[part];
  });
  row.cells[2].textContent = scaled(stage.total);
}

function render({ model, el }) {
  const listen = listener(model);
  const root = frame(el, "Memory explorer");
  const controls = buildControls(model, listen);
  const view = buildResults();
  root.append(...controls.nodes, view.refusal, view.results, view.spoken.node);

  function redraw() {
    const [name, settings] = [model.get("config_name"), settingsOf(model, SETTINGS)];
    drawControls(controls, name, settings);
    drawResults(view, compute(controls.configs.get(name), settings));
  }
  listen.on(["config_name", ...SETTINGS], oncePerFrame(redraw));
  redraw();
  return () => {
    listen.stop();
    view.spoken.stop();
  };
}

export default { render };
