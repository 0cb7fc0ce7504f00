// SamplingExplorer: the next token's distribution, and the knobs that bend it.
import { ascending, drawer, entropyBits, nextTokenProbabilities, randomNumbers } from "../browser/sampling.js";
import {
  assign,
  button,
  chooser,
  element,
  floats,
  frame,
  heading,
  knobs,
  listener,
  liveText,
  number,
  oncePerFrame,
  percent,
  range,
  seedField,
  settingsOf,
  slider,
  visible,
} from "./controls.js";
import { leave, ownText } from "./engine.js";

const DRAWS = 1000;
const KNOBS = ["temperature", "top_k", "top_p", "min_p"];
const SCALES = [0.1, 0.2, 0.5, 1]; // what a bar of full width can stand for

/** A text: the scores after it, their order, and the tokens that have a row of their own. */
function textOf(text, logits, ids, names) {
  const isShown = new Uint8Array(logits.length);
  for (const id of ids) isShown[id] = 1;
  return { text, logits, order: ascending(logits), ids, names: names.map(visible), isShown };
}

/** The texts that came with the widget. */
function textsOf(model) {
  const V = model.get("vocab_size");
  const all = floats(model, "logits");
  return model.get("texts").map((text, i) => {
    const logits = Float64Array.from(all.subarray(i * V, (i + 1) * V));
    return textOf(text, logits, model.get("shown_ids")[i], model.get("shown_tokens")[i]);
  });
}

/** A text that the reader has typed, with as many rows as the others. */
function ownTextOf(text, logits, names, rows) {
  const exact = Float64Array.from(logits);
  const ids = Array.from(ascending(exact).slice(-rows)).toReversed();
  return textOf(
    text,
    exact,
    ids,
    ids.map((id) => names[id]),
  );
}

/** The widget's elements in its frame, of which those that change or are listened to come back. */
function build(root, model, listen, texts, chosen) {
  const options = texts.map(({ text }, i) => [i, visible(text)]);
  const { node: textChooser, select } = chooser("After the text", options, chosen);
  const sliders = knobs(model.get("vocab_size")).map((knob) => slider(model, listen, knob).node);
  const summary = element("p", { class: "mgw-summary" });
  const { table, ...rows } = tableOf(texts[0].ids.length);
  const drawButton = button(`Draw ${number(DRAWS)}`, () => {});
  const drawing = element("div", { class: "mgw-line" }, seedField(model, listen), drawButton);
  const spoken = liveText();
  const above = element("div", { class: "mgw-texts" }, textChooser);
  root.append(above, element("div", { class: "mgw-sliders" }, ...sliders), summary, table, drawing, spoken.node);
  return { root, above, select, summary, ...rows, drawButton, spoken };
}

/** The table: a row for each token that is shown, and one for all others. */
function tableOf(shown) {
  const tokenRows = range(1, shown).map(() => row("mgw-token mgw-code"));
  const othersRow = row("mgw-token");
  const scaleHeading = heading("", "mgw-wide");
  const shareHeading = heading("", "mgw-number");
  shareHeading.append(element("span", { class: "mgw-spoken" }, "in percent"));
  const headings = [
    heading("token", "mgw-token"),
    scaleHeading,
    shareHeading,
    heading("drawn", "mgw-number mgw-orange"),
  ];
  const table = element(
    "table",
    { class: "mgw-bars" },
    element("thead", {}, element("tr", {}, ...headings)),
    element("tbody", {}, ...tokenRows.map((r) => r.node), othersRow.node),
  );
  return { table, tokenRows, othersRow, scaleHeading };
}

/** What the knobs make of a text's distribution. */
function compute(text, { temperature, top_k: topK, top_p: topP, min_p: minP }) {
  const uncut = nextTokenProbabilities(text.logits, { temperature }, text.order);
  const probabilities = nextTokenProbabilities(text.logits, { temperature, topK, topP, minP }, text.order);
  const isCut = topK !== null || (topP ?? 1) < 1 || (minP ?? 0) > 0;
  let survivors = 0;
  let kept = 0;
  for (let id = 0; id < uncut.length; id++) {
    if (probabilities[id] === 0) continue;
    survivors += 1;
    kept += uncut[id];
  }
  return { text, uncut, probabilities, isCut, survivors, kept, bits: entropyBits(probabilities) };
}

/** What the rows show: the tokens that have one, the sum of all others, and what a full bar stands for. */
function rowsOf({ text, uncut, probabilities }, counts) {
  const tokens = text.ids.map((id, place) => {
    const p = probabilities[id];
    return { name: text.names[place], p, cut: p > 0 ? 0 : uncut[id], drawn: counts && counts[id] };
  });
  const hidden = probabilities.length - tokens.length;
  const others = { name: `${number(hidden)} more`, p: 0, cut: 0, drawn: counts && 0 };
  // Summed up: 1 minus the rest would be inexact.
  for (let id = 0; id < uncut.length; id++) {
    if (text.isShown[id]) continue;
    others.p += probabilities[id];
    if (probabilities[id] === 0) others.cut += uncut[id];
    if (counts) others.drawn += counts[id];
  }
  const longest = Math.max(others.p + others.cut, ...tokens.map(({ p, cut }) => p || cut));
  return { tokens, others, hidden, scale: SCALES.find((end) => longest <= end) ?? 1 };
}

/** The distribution in a sentence or two. */
function summaryOf({ probabilities, isCut, survivors, kept, bits }) {
  const before = isCut ? `, with ${percent(kept)} of the probability before the cut` : "";
  return (
    `${number(survivors)} of ${number(probabilities.length)} tokens can be drawn${before}. ` +
    `Entropy ${number(bits, 2)} bits, as if from ${number(2 ** bits, 1)} equal tokens.`
  );
}

/** The likeliest tokens, for those who listen, or how often they were drawn. */
function likeliest({ text, probabilities }, counts) {
  const best = text.ids.slice(0, 3).map((id, place) => [id, text.names[place]]);
  if (counts) return `${number(DRAWS)} drawn: ${best.map(([id, name]) => `${name} ${number(counts[id])}`).join(", ")}`;
  const possible = best.filter(([id]) => probabilities[id] > 0);
  return possible.map(([id, name]) => `${name} ${percent(probabilities[id])}`).join(", ");
}

function drawSummary({ root, summary }, state) {
  Object.assign(root.dataset, { survivors: state.survivors, kept: state.kept, entropyBits: state.bits });
  summary.textContent = summaryOf(state);
}

function drawRows({ tokenRows, othersRow, scaleHeading }, { tokens, others, hidden, scale }) {
  scaleHeading.textContent = `a full bar is ${100 * scale}\u00a0%`;
  tokens.forEach((token, place) => tokenRows[place].update(token, scale));
  othersRow.node.hidden = hidden === 0;
  othersRow.update(others, scale);
}

/** Which text is looked at: the one that the trait names, or one of the reader's own. */
function textChoice(model, texts, view, changed) {
  let own = null;
  let isOwn = false;
  const settle = () => (view.select.value = isOwn ? "own" : model.get("text"));
  const choose = (value) => {
    isOwn = value === "own";
    if (!isOwn) assign(model, "text", Number(value));
    settle();
    changed();
  };
  const answered = ({ logits }, { names }, text) => {
    own = ownTextOf(text, logits, names, texts[0].ids.length);
    view.select.querySelector("[value=own]")?.remove();
    view.select.append(element("option", { value: "own" }, visible(text)));
    choose("own");
  };
  return { choose, answered, settle, chosen: () => (isOwn ? own : texts[model.get("text")]) };
}

function render({ model, el }) {
  const listen = listener(model);
  const texts = textsOf(model);
  const view = build(frame(el, "Sampling explorer"), model, listen, texts, (value) => choice.choose(value));
  let state; // what the knobs make of the distribution
  let counts = null; // how often each token was drawn since they last moved
  let running = 0; // the number of the drawing that may go on

  const recompute = () => {
    state = compute(choice.chosen(), settingsOf(model, KNOBS));
    drawSummary(view, state);
  };
  const redraw = () => drawRows(view, rowsOf(state, counts));
  const speak = () => view.spoken.say(`${likeliest(state, counts)}. ${summaryOf(state)}`);
  const refresh = () => {
    recompute();
    redraw();
    speak();
  };
  const schedule = oncePerFrame(refresh);
  const forget = () => {
    running += 1; // what was drawn was drawn from another distribution
    counts = null;
    delete view.root.dataset.drawn;
    schedule();
  };
  const choice = textChoice(model, texts, view, forget);
  if (model.get("runs")) view.above.append(ownText(model, "next", choice.answered));
  listen.on(["text"], () => choice.choose(model.get("text")));
  listen.on([...KNOBS, "seed"], forget);

  view.drawButton.addEventListener("click", () => {
    recompute(); // the sliders may have moved since the last frame
    const mine = ++running;
    const next = drawer(state.probabilities, randomNumbers(model.get("seed")));
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    counts = new Uint32Array(state.probabilities.length);
    let done = 0;
    const grow = () => {
      if (mine !== running) return;
      for (const end = still ? DRAWS : done + 20; done < end; done++) counts[next()] += 1;
      redraw();
      view.root.dataset.drawn = done;
      if (done < DRAWS) requestAnimationFrame(grow);
      else speak();
    };
    grow();
  });

  choice.settle();
  refresh();
  return () => {
    running += 1;
    listen.stop();
    view.spoken.stop();
    leave(model);
  };
}

/** One token's row: name, bar, percent, times drawn. */
function row(nameClass) {
  const bar = element("div", { class: "mgw-bar" });
  const faded = element("div", { class: "mgw-bar mgw-cut" });
  const drawnBar = element("div", { class: "mgw-bar mgw-drawn" });
  const nameCell = element("th", { scope: "row", class: nameClass });
  const shareCell = element("td", { class: "mgw-number" });
  const drawnCell = element("td", { class: "mgw-number" });
  const bars = element(
    "td",
    { class: "mgw-wide" },
    element("div", { class: "mgw-track" }, bar, faded),
    element("div", { class: "mgw-track mgw-thin" }, drawnBar),
  );
  const node = element("tr", {}, nameCell, bars, shareCell, drawnCell);
  const update = ({ name, p, cut, drawn }, scale) => {
    const isCut = p === 0 && cut > 0;
    nameCell.textContent = name;
    bar.style.width = `${(100 * p) / scale}%`;
    faded.style.width = `${(100 * cut) / scale}%`;
    faded.hidden = cut === 0;
    drawnBar.style.width = `${(100 * (drawn ?? 0)) / DRAWS / scale}%`;
    shareCell.textContent = isCut ? "cut" : percent(p);
    drawnCell.textContent = drawn === null ? "" : number(drawn);
    node.classList.toggle("mgw-out", isCut);
    Object.assign(node.dataset, { probability: p, cut, drawn: drawn ?? "" });
  };
  return { node, update };
}

export default { render };
