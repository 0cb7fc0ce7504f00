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

function render({ model, el }) {
  const listen = listener(model);
  const root = frame(el, "Memory explorer");
  const configs = new Map(model.get("configs"));
  const config = () => configs.get(model.get("config_name"));

  const { node: configChooser, select } = chooser(
    "Model",
    [...configs.keys()].map((name) => [name, name]),
    (name) => {
      model.set("config_name", name);
      if (model.get("sequence_length") > config().context_length) model.set("sequence_length", null);
      model.save_changes();
    },
  );
  const longest = () => config().context_length;
  const lengths = slider(model, listen, {
    trait: "sequence_length",
    label: "Sequence length T",
    values: () => [
      ...range(4, 20)
        .map((power) => 2 ** power)
        .filter((length) => length < longest()),
      longest(),
    ],
    toTrait: (length) => (length === longest() ? null : length),
    fromTrait: (length) => length ?? longest(),
  });
  listen.on(["config_name"], lengths.update);
  const batches = slider(model, listen, { trait: "batch_size", label: "Batch size B", values: BATCHES });
  const choices = Object.entries(CHOICES).map(([trait, [label, values]]) => {
    const made = chooser(
      label,
      values.map((value) => [value, value]),
      (value) => assign(model, trait, value),
    );
    made.select.dataset.trait = trait;
    return made;
  });
  const checkpointing = element("input", { type: "checkbox", "data-trait": "checkpointing" });
  checkpointing.addEventListener("change", () => assign(model, "checkpointing", checkpointing.checked));

  const refusal = element("p", { class: "mgw-summary mgw-refusal" });
  const peakTotal = element("span", { class: "mgw-total" });
  const peakBinary = element("span");
  const peakName = element("strong");
  const why = element("p", { class: "mgw-summary" });
  const unitHeading = heading("", "mgw-number");
  const rows = STAGES.map((name) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      element(
        "td",
        { class: "mgw-wide" },
        element(
          "div",
          { class: "mgw-stack", role: "img" },
          ...PARTS.map((part) => element("div", { class: `mgw-part mgw-${part}` })),
        ),
      ),
      element("td", { class: "mgw-number" }),
    ),
  );
  const parts = PARTS.map((part) =>
    element(
      "tr",
      {},
      element(
        "th",
        { scope: "row" },
        element("span", { class: `mgw-swatch mgw-${part}`, "aria-hidden": "true" }),
        SHOWN[part],
      ),
      element("td", { class: "mgw-number" }),
      element("td", { class: "mgw-number" }),
    ),
  );
  const fits = element("p", { class: "mgw-headline" });
  const cards = GPU_GIGABYTES.map((size) => element("li", {}, element("strong", {}, `${size} GB`), element("span")));
  const gpus = element(
    "div",
    {},
    fits,
    element("ul", { class: "mgw-cards" }, ...cards),
    element(
      "p",
      { class: "mgw-small" },
      "Only tensors are counted, and a GPU's GB as 10⁹ bytes. The CUDA context, " +
        "the libraries' workspaces and gaps between tensors come on top.",
    ),
  );
  const results = element(
    "div",
    {},
    element("p", { class: "mgw-headline" }, peakTotal, peakBinary, " at the fullest stage: ", peakName),
    why,
    element(
      "table",
      { class: "mgw-stages" },
      element(
        "thead",
        {},
        element("tr", {}, heading("stage of a step", ""), element("td", { class: "mgw-wide" }), unitHeading),
      ),
      element("tbody", {}, ...rows),
    ),
    element(
      "table",
      { class: "mgw-plain mgw-parts" },
      element(
        "thead",
        {},
        element("tr", {}, heading("at the peak", ""), heading("bytes", "mgw-number"), heading("share", "mgw-number")),
      ),
      element("tbody", {}, ...parts),
    ),
    gpus,
  );
  const spoken = liveText();
  root.append(
    configChooser,
    element("div", { class: "mgw-sliders" }, batches.node, lengths.node),
    element("div", { class: "mgw-choices" }, ...choices.map((made) => made.node)),
    element("label", { class: "mgw-line" }, checkpointing, element("span", {}, "checkpointing")),
    refusal,
    results,
    spoken.node,
  );

  function redraw() {
    const settings = Object.fromEntries(SETTINGS.map((trait) => [trait, model.get(trait)]));
    select.value = model.get("config_name");
    for (const made of choices) made.select.value = settings[made.select.dataset.trait];
    checkpointing.checked = settings.checkpointing;
    const refused = impossible(config(), settings);
    refusal.textContent = refused && `No such step. ${refused}`;
    refusal.hidden = !refused;
    results.hidden = Boolean(refused);
    if (refused) {
      spoken.say(refusal.textContent);
      return;
    }

    const all = stepStages(config(), settings);
    const peak = fullest(all);
    const [unit, scale, binaryUnit, binaryScale, decimals] =
      peak.total < 1e9 ? ["MB", 1e6, "MiB", 2 ** 20, 1] : ["GB", 1e9, "GiB", 2 ** 30, 2];
    const scaled = (bytes) => number(bytes / scale, decimals);
    peakTotal.textContent = `${scaled(peak.total)} ${unit}`;
    peakBinary.textContent = ` (${number(peak.total / binaryScale, decimals)} ${binaryUnit})`;
    peakName.textContent = peak.name;
    why.textContent = WHY[peak.name];
    unitHeading.textContent = unit;
    STAGES.forEach((name, i) => {
      const those = all.filter((stage) => stage.name === name);
      rows[i].hidden = those.length === 0;
      if (those.length > 0) drawStage(rows[i], fullest(those), peak, scaled, unit);
    });
    PARTS.forEach((part, i) => {
      parts[i].cells[1].textContent = number(peak[part]);
      parts[i].cells[2].textContent = percent(peak[part] / peak.total);
    });
    gpus.hidden = settings.device === "cpu";
    const left = GPU_GIGABYTES.map((gigabytes) => 1e9 * gigabytes - peak.total);
    cards.forEach((card, i) => {
      card.classList.toggle("mgw-cut", left[i] < 0);
      card.lastChild.textContent = left[i] < 0 ? "too small" : `${number(left[i] / 1e9, 1)} left`;
    });
    const smallest = GPU_GIGABYTES[left.findIndex((bytes) => bytes >= 0)];
    fits.textContent = `The tensors fit on ${smallest ? `a GPU of ${smallest} GB` : "none of these GPUs"}.`;
    const fit = gpus.hidden ? "" : ` ${fits.textContent}`;
    spoken.say(`${peakTotal.textContent}${peakBinary.textContent} at the fullest stage: ${peak.name}.${fit}`);
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

  const schedule = oncePerFrame(redraw);
  listen.on(["config_name", ...SETTINGS], schedule);
  redraw();
  return () => {
    listen.stop();
    spoken.stop();
  };
}

export default { render };
