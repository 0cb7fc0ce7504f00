// AttentionExplorer: who looks at whom, head by head.
import {
  assign,
  button,
  element,
  floats,
  frame,
  listener,
  liveText,
  number,
  oncePerFrame,
  overlay,
  percent,
  range,
  settingsOf,
  visible,
} from "./controls.js";
import { leave, ownText } from "./engine.js";
import { gridOf, inkOn, pictureOf, press, walkable } from "./heads.js";

const TRAITS = ["layer", "head", "position"];

/** What stays as it is: the tokens, the layers, and where the weights of a head at a position are. */
function dataOf(model) {
  const tokens = model.get("tokens").map(visible);
  const [layers, H, T] = [model.get("layers"), model.get("n_heads"), tokens.length];
  const all = floats(model, "weights");
  const mapOf = (layer, head) => layers.indexOf(layer) * H + head - 1;
  const weightsOf = (layer, head, position) => {
    const start = (mapOf(layer, head) * T + position) * T;
    return all.subarray(start, start + T);
  };
  return { tokens, layers, H, mapOf, weightsOf };
}

/** The text, token by token, each with the share of attention that it gets. */
function lineOf(model, tokens) {
  const shares = tokens.map(() => element("span", { class: "mgw-share" }));
  const chips = tokens.map((token, position) => {
    const name = element("span", { class: "mgw-code" }, token);
    const chip = element("button", { type: "button", class: "mgw-chip" }, name, shares[position]);
    const choose = () => assign(model, "position", position);
    chip.addEventListener("click", choose);
    chip.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && choose());
    return chip;
  });
  const line = element("div", { class: "mgw-chips", role: "group", "aria-label": "Choose a token" }, ...chips);
  walkable(line, chips, 1);
  return { line, chips, shares };
}

/** The widget's elements in a place for them, of which those that change come back. */
function build(place, model, data, ink) {
  const choose = (layer, head) => {
    model.set("layer", layer);
    assign(model, "head", head);
  };
  const picture = (layer, head) => pictureOf(data.tokens.length, (row) => data.weightsOf(layer, head, row), ink);
  const { grid, maps } = gridOf(data.layers, data.H, picture, choose);
  const { line, chips, shares } = lineOf(model, data.tokens);
  const title = element("p", { class: "mgw-headline" });
  const summary = element("p", { class: "mgw-summary" });
  place.replaceChildren(element("div", { class: "mgw-columns" }, grid, element("div", {}, title, line, summary)));
  return { maps, chips, shares, title, summary };
}

/** What there is to see of a head at a position, in numbers and words. */
function compute({ tokens, mapOf, weightsOf }, { layer, head, position }) {
  const weights = weightsOf(layer, head, position);
  const named = (i) => `“${tokens[i]}” (token ${i + 1})`;
  const ranked = range(0, position).sort((i, j) => weights[j] - weights[i]);
  const most = ranked.slice(0, 3).map((i) => `${named(i)} ${percent(weights[i])}`);
  return {
    map: mapOf(layer, head),
    position,
    weights,
    title: `Layer ${layer}, head ${head}`,
    summary: `${named(position)} looks most at ${most.join(", ")}.`,
  };
}

function draw({ maps, chips, shares, ...view }, spoken, { map, position, weights, title, summary }) {
  view.title.textContent = title;
  press(maps, map);
  press(chips, position);
  chips.forEach((chip, i) => {
    chip.classList.toggle("mgw-out", i > position);
    chip.style.setProperty("--weight", weights[i]);
    chip.dataset.weight = weights[i];
    shares[i].textContent = i > position ? "" : `${number(100 * weights[i])}\u00a0%`;
  });
  view.summary.textContent = summary;
  spoken.say(`${title}: ${summary}`);
}

/** Show a model's tokens and heads in a place; returns a function that ends it. */
function show(place, model, spoken, ink) {
  const listen = listener(model);
  const data = dataOf(model);
  const view = build(place, model, data, ink);
  const redraw = () => draw(view, spoken, compute(data, settingsOf(model, TRAITS)));
  listen.on(TRAITS, oncePerFrame(redraw));
  redraw();
  return listen.stop;
}

/** The widget's model with the heads over another text, which the kernel knows nothing of. */
function over(model, { tokens, weights }, { config, names }) {
  const all = new Float32Array(weights.flatMap((layer) => [...layer]));
  const layers = range(1, config.n_layers);
  return overlay(model, {
    tokens: tokens.map((id) => names[id]),
    layers,
    n_heads: config.n_heads,
    weights: new DataView(all.buffer),
    layer: layers.includes(model.get("layer")) ? model.get("layer") : 1,
    head: model.get("head"),
    position: tokens.length - 1,
  });
}

function render({ model, el }) {
  const root = frame(el, "Attention explorer");
  const place = element("div");
  const spoken = liveText();
  const ink = inkOn(el);
  let stop = () => {};
  const change = (shown) => {
    stop();
    stop = show(place, shown, spoken, ink);
  };
  if (model.get("runs")) {
    const line = ownText(model, "look", (answer, opened) => change(over(model, answer, opened)));
    line.firstChild.append(button("The first text", () => change(model)));
    root.append(line);
  }
  root.append(place, spoken.node);
  change(model);
  return () => {
    stop();
    spoken.stop();
    leave(model);
  };
}

export default { render };
