// SamplingExplorer: the next token's distribution, and the knobs that bend it.
import { ascending, drawer, entropyBits, nextTokenProbabilities, randomNumbers } from "../browser/sampling.js";
import {
  assign,
  chooser,
  element,
  floats,
  frame,
  heading,
  listener,
  liveText,
  number,
  oncePerFrame,
  percent,
  range,
  slider,
  visible,
} from "./controls.js";

const DRAWS = 1000;
const SCALES = [0.1, 0.2, 0.5, 1]; // what a bar of full width can stand for
const hundredths = (first, last) => range(first, last).map((n) => n / 100);

/** 1, 2, ... 30, then in steps of about a twentieth, and at last V: everything. */
function topKs(V) {
  const steps = [];
  for (let k = 1; k < V; k += Math.max(1, Math.round(k / 20))) steps.push(k);
  return [...steps, V];
}

function render({ model, el }) {
  const listen = listener(model);
  const root = frame(el, "Sampling explorer");
  const texts = model.get("texts");
  const V = model.get("vocab_size");
  const shownIds = model.get("shown_ids");
  const shownTokens = model.get("shown_tokens");
  const all = floats(model, "logits");
  const logits = texts.map((_, i) => Float64Array.from(all.subarray(i * V, (i + 1) * V)));
  const orders = logits.map(ascending);
  const isShown = shownIds.map((ids) => {
    const flags = new Uint8Array(V);
    for (const id of ids) flags[id] = 1;
    return flags;
  });

  const { node: textChooser, select } = chooser(
    "After the text",
    texts.map((text, i) => [i, visible(text)]),
    (i) => assign(model, "text", Number(i)),
  );
  const off = (is, show) => (value) => (value === is ? "off" : show(value));
  const sliders = [
    { trait: "temperature", label: "Temperature", values: hundredths(0, 200), show: (t) => number(t, 2) },
    {
      trait: "top_k",
      label: "Top-k",
      values: topKs(V),
      show: off(V, number),
      toTrait: (k) => (k === V ? null : k),
      fromTrait: (k) => Math.min(k ?? V, V),
    },
    {
      trait: "top_p",
      label: "Top-p",
      values: hundredths(1, 100),
      show: off(1, (p) => number(p, 2)),
      fromTrait: (p) => p ?? 1,
    },
    {
      trait: "min_p",
      label: "Min-p",
      values: hundredths(0, 100),
      show: off(0, (p) => number(p, 2)),
      fromTrait: (p) => p ?? 0,
    },
  ].map((options) => slider(model, listen, options).node);

  const seed = element("input", { type: "number", min: 0, max: 2 ** 31 - 1, step: 1 });
  seed.addEventListener("input", () => {
    if (seed.value !== "" && seed.checkValidity()) assign(model, "seed", Number(seed.value));
  });
  seed.addEventListener("change", () => (seed.value = model.get("seed"))); // what was no seed goes
  const button = element("button", { type: "button" }, `Draw ${number(DRAWS)}`);
  const drawing = element(
    "div",
    { class: "mgw-line" },
    element("label", {}, element("span", {}, "Seed"), seed),
    button,
  );

  const summary = element("p", { class: "mgw-summary" });
  const tokenRows = shownIds[0].map(() => row("mgw-token mgw-code"));
  const othersRow = row("mgw-token");
  const scaleHeading = heading("", "mgw-wide");
  const table = element(
    "table",
    { class: "mgw-bars" },
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        heading("token", "mgw-token"),
        scaleHeading,
        heading("", "mgw-number"),
        heading("drawn", "mgw-number mgw-orange"),
      ),
    ),
    element("tbody", {}, ...tokenRows.map((r) => r.node), othersRow.node),
  );
  table.tHead.rows[0].cells[2].append(element("span", { class: "mgw-spoken" }, "in percent"));
  const spoken = liveText();
  root.append(textChooser, element("div", { class: "mgw-sliders" }, ...sliders), summary, table, drawing, spoken.node);

  let counts = null; // how often each token was drawn since the knobs last moved
  let running = 0; // the number of the drawing that may go on
  let uncut; // the distribution at this temperature, before anything is cut off
  let probabilities; // the one that is drawn from

  /** What the knobs make of the distribution, in numbers and words. */
  function compute() {
    const i = model.get("text");
    const temperature = model.get("temperature");
    const cuts = { topK: model.get("top_k"), topP: model.get("top_p"), minP: model.get("min_p") };
    uncut = nextTokenProbabilities(logits[i], { temperature }, orders[i]);
    probabilities = nextTokenProbabilities(logits[i], { temperature, ...cuts }, orders[i]);
    let survivors = 0;
    let kept = 0;
    for (let id = 0; id < V; id++) {
      if (probabilities[id] === 0) continue;
      survivors += 1;
      kept += uncut[id];
    }
    const bits = entropyBits(probabilities);
    Object.assign(root.dataset, { survivors, kept, entropyBits: bits });
    const isCut = cuts.topK !== null || (cuts.topP ?? 1) < 1 || (cuts.minP ?? 0) > 0;
    summary.textContent =
      `${number(survivors)} of ${number(V)} tokens can be drawn` +
      `${isCut ? `, with ${percent(kept)} of the probability before the cut` : ""}. ` +
      `Entropy ${number(bits, 2)} bits, as if from ${number(2 ** bits, 1)} equal tokens.`;
  }

  /** The rows: what is shown by itself, and the sum of all others. */
  function redraw() {
    const i = model.get("text");
    const others = { p: 0, cut: 0, drawn: 0 }; // summed up: 1 minus the rest would be inexact
    for (let id = 0; id < V; id++) {
      if (isShown[i][id]) continue;
      others.p += probabilities[id];
      if (probabilities[id] === 0) others.cut += uncut[id];
      if (counts) others.drawn += counts[id];
    }
    const longest = Math.max(others.p + others.cut, ...shownIds[i].map((id) => probabilities[id] || uncut[id]));
    const scale = SCALES.find((end) => longest <= end) ?? 1;
    scaleHeading.textContent = `a full bar is ${100 * scale} %`;
    shownIds[i].forEach((id, place) => {
      const p = probabilities[id];
      tokenRows[place].update(visible(shownTokens[i][place]), p, p > 0 ? 0 : uncut[id], counts && counts[id], scale);
    });
    const hidden = V - shownIds[i].length;
    othersRow.node.hidden = hidden === 0;
    othersRow.update(`${number(hidden)} more`, others.p, others.cut, counts && others.drawn, scale);
  }

  /** The likeliest tokens, for those who listen, and how often they were drawn. */
  function speak() {
    const i = model.get("text");
    const best = shownIds[i].map((id, place) => [id, visible(shownTokens[i][place])]).slice(0, 3);
    const said = counts
      ? `${number(DRAWS)} drawn: ${best.map(([id, token]) => `${token} ${number(counts[id])}`).join(", ")}`
      : best
          .filter(([id]) => probabilities[id] > 0)
          .map(([id, token]) => `${token} ${percent(probabilities[id])}`)
          .join(", ");
    spoken.say(`${said}. ${summary.textContent}`);
  }

  function draw() {
    const mine = ++running;
    const next = drawer(probabilities, randomNumbers(model.get("seed")));
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    counts = new Uint32Array(V);
    let done = 0;
    const grow = () => {
      if (mine !== running) return;
      for (const end = still ? DRAWS : done + 20; done < end; done++) counts[next()] += 1;
      redraw();
      root.dataset.drawn = done;
      if (done < DRAWS) requestAnimationFrame(grow);
      else speak();
    };
    grow();
  }

  const refresh = () => {
    compute();
    redraw();
    speak();
  };
  const schedule = oncePerFrame(refresh);
  const settle = () => {
    running += 1; // what was drawn was drawn from another distribution
    counts = null;
    delete root.dataset.drawn;
    select.value = model.get("text");
    seed.value = model.get("seed");
    schedule();
  };
  button.addEventListener("click", () => {
    compute(); // the sliders may have moved since the last frame
    draw();
  });
  listen.on(["text", "temperature", "top_k", "top_p", "min_p", "seed"], settle);
  select.value = model.get("text");
  seed.value = model.get("seed");
  refresh();
  return () => {
    running += 1;
    listen.stop();
    spoken.stop();
  };
}

/** One token's row: name, bar, percent, times drawn. */
function row(nameClass) {
  const bar = element("div", { class: "mgw-bar" });
  const faded = element("div", { class: "mgw-bar mgw-cut" });
  const drawnBar = element("div", { class: "mgw-bar mgw-drawn" });
  const name = element("th", { scope: "row", class: nameClass });
  const share = element("td", { class: "mgw-number" });
  const drawn = element("td", { class: "mgw-number" });
  const bars = element(
    "td",
    { class: "mgw-wide" },
    element("div", { class: "mgw-track" }, bar, faded),
    element("div", { class: "mgw-track mgw-thin" }, drawnBar),
  );
  const node = element("tr", {}, name, bars, share, drawn);
  const update = (text, p, cut, count, scale) => {
    const isCut = p === 0 && cut > 0;
    name.textContent = text;
    bar.style.width = `${(100 * p) / scale}%`;
    faded.style.width = `${(100 * cut) / scale}%`;
    faded.hidden = cut === 0;
    drawnBar.style.width = `${(100 * (count ?? 0)) / DRAWS / scale}%`;
    share.textContent = isCut ? "cut" : percent(p);
    drawn.textContent = count === null ? "" : number(count);
    node.classList.toggle("mgw-out", isCut);
    Object.assign(node.dataset, { probability: p, cut, drawn: count ?? "" });
  };
  return { node, update };
}

export default { render };
