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

function render({ model, el }) {
  const listen = listener(model);
  const root = frame(el, "Parameter explorer");
  const presets = new Map(model.get("presets"));

  const { node: presetChooser, select } = chooser(
    "Model",
    [["", "your own"], ...[...presets.keys()].map((name) => [name, name])],
    (name) => {
      for (const trait of TRAITS) if (name) model.set(trait, presets.get(name)[trait]);
      model.save_changes();
      schedule(); // puts the chooser right if nothing has changed
    },
  );
  const fit = (width) => {
    if (width % model.get("n_heads") === 0) return;
    const below = divisors(width).filter((d) => d < model.get("n_heads"));
    assign(model, "n_heads", below[below.length - 1]);
  };
  const heads = slider(model, listen, {
    trait: "n_heads",
    label: "Heads H",
    values: () => divisors(model.get("d_model")),
  });
  const sliders = [
    slider(model, listen, { trait: "n_layers", label: "Layers L", values: range(1, 128) }),
    slider(model, listen, { trait: "d_model", label: "Width C", values: WIDTHS, moved: fit }),
    heads,
    slider(model, listen, { trait: "vocab_size", label: "Vocabulary V", values: VOCABULARIES }),
    slider(model, listen, { trait: "context_length", label: "Context length", values: CONTEXTS }),
  ].map((made) => made.node);
  listen.on(["d_model"], heads.update);
  const tie = element("input", { type: "checkbox" });
  tie.addEventListener("change", () => assign(model, "tie_weights", tie.checked));

  const total = element("span", { class: "mgw-total" });
  const note = element("p", { class: "mgw-summary" });
  const groups = Object.keys(paramsByGroup({}));
  const stack = element(
    "div",
    { class: "mgw-stack", "aria-hidden": "true" },
    ...groups.map((_, i) => element("div", { class: `mgw-part mgw-part-${i}` })),
  );
  const rows = groups.map((group, i) =>
    element(
      "tr",
      {},
      element(
        "th",
        { scope: "row" },
        element("span", { class: `mgw-swatch mgw-part-${i}`, "aria-hidden": "true" }),
        group,
      ),
      element("td", { class: "mgw-number" }),
      element("td", { class: "mgw-number" }),
    ),
  );
  const table = element(
    "table",
    { class: "mgw-plain" },
    element(
      "thead",
      {},
      element("tr", {}, heading("where", ""), heading("parameters", "mgw-number"), heading("share", "mgw-number")),
    ),
    element("tbody", {}, ...rows),
  );
  const spoken = liveText();
  root.append(
    presetChooser,
    element("div", { class: "mgw-sliders" }, ...sliders),
    element("label", { class: "mgw-line" }, tie, element("span", {}, "the output head is the token embedding (tied)")),
    element("p", { class: "mgw-headline" }, total, " parameters"),
    stack,
    note,
    table,
    spoken.node,
  );

  function redraw() {
    const [nLayers, dModel, nHeads, vocabSize, contextLength, tieWeights] = TRAITS.map((trait) => model.get(trait));
    const parts = paramsByGroup({ vocabSize, contextLength, dModel, nLayers, tieWeights });
    const sum = Object.values(parts).reduce((a, b) => a + b);
    total.textContent = number(sum);
    tie.checked = tieWeights;
    select.value = [...presets.keys()].find((name) => TRAITS.every((t) => presets.get(name)[t] === model.get(t))) ?? "";
    Object.values(parts).forEach((params, i) => {
      stack.children[i].style.width = `${(100 * params) / sum}%`;
      rows[i].cells[1].textContent = number(params);
      rows[i].cells[2].textContent = percent(params / sum);
    });
    note.textContent =
      dModel % nHeads
        ? `No such model: ${number(nHeads)} heads cannot share out a width of ${number(dModel)}.`
        : `${number(nHeads)} ${nHeads === 1 ? "head is" : "heads are"} ${number(dModel / nHeads)} wide each. The number of heads changes no count.`;
    spoken.say(
      `${number(sum)} parameters: ${Object.entries(parts)
        .map(([group, params]) => `${group} ${percent(params / sum)}`)
        .join(", ")}.`,
    );
  }

  const schedule = oncePerFrame(redraw);
  listen.on(TRAITS, schedule);
  redraw();
  return () => {
    listen.stop();
    spoken.stop();
  };
}

export default { render };
