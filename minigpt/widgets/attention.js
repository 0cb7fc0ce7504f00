// AttentionExplorer: who looks at whom, head by head.
import {
  assign,
  element,
  floats,
  frame,
  listener,
  liveText,
  number,
  oncePerFrame,
  percent,
  range,
  settingsOf,
  visible,
} from "./controls.js";

const TRAITS = ["layer", "head", "position"];
const BLUE = { onLight: [0, 98, 170], onDark: [110, 190, 250] };

/** Let the arrow keys walk over a grid of buttons, of which one at a time can be reached by Tab. */
function walkable(container, buttons, columns) {
  container.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const here = buttons.indexOf(event.target.closest("button"));
    const moves = {
      ArrowLeft: here - 1,
      ArrowRight: here + 1,
      ArrowUp: here - columns,
      ArrowDown: here + columns,
      Home: 0,
      End: buttons.length - 1,
    };
    if (here < 0 || !(event.key in moves)) return;
    event.preventDefault();
    const there = buttons[moves[event.key]];
    if (there) {
      there.focus();
      there.click();
    }
  });
}

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

/** The blue that can be seen on the page: light text tells of a dark one. */
function inkOn(el) {
  const [red, green, blue] = getComputedStyle(el).color.match(/\d+/g);
  return Math.max(red, green, blue) > 140 ? BLUE.onDark : BLUE.onLight;
}

/** A head's weights as a picture: a row for each token that looks, with more ink where it looks more. */
function pictureOf({ tokens, weightsOf }, layer, head, ink) {
  const T = tokens.length;
  const canvas = element("canvas", { width: T, height: T, "aria-hidden": "true" });
  const paint = canvas.getContext("2d");
  const image = paint.createImageData(T, T);
  tokens.forEach((_, row) =>
    weightsOf(layer, head, row).forEach((weight, column) =>
      image.data.set([...ink, 255 * weight], 4 * (row * T + column)),
    ),
  );
  paint.putImageData(image, 0, 0);
  return canvas;
}

/** All heads, a row for each layer: pictures to choose from. */
function gridOf(model, data, ink) {
  const heads = range(1, data.H);
  const mapButton = (layer, head) => {
    const attributes = { type: "button", class: "mgw-map", "aria-label": `layer ${layer}, head ${head}` };
    const button = element("button", attributes, pictureOf(data, layer, head, ink));
    button.addEventListener("click", () => {
      model.set("layer", layer);
      assign(model, "head", head);
    });
    return button;
  };
  const rows = data.layers.map((layer) => heads.map((head) => mapButton(layer, head)));
  const label = (text) => element("span", { "aria-hidden": "true" }, text);
  const grid = element(
    "div",
    { class: "mgw-maps", role: "group", "aria-label": "Choose a head" },
    label(""),
    ...heads.map((head) => label(`head ${head}`)),
    ...rows.flatMap((row, i) => [label(`layer ${data.layers[i]}`), ...row]),
  );
  grid.style.setProperty("--columns", data.H);
  walkable(grid, rows.flat(), data.H);
  return { grid, maps: rows.flat() };
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

/** The widget's elements in its frame, of which those that change come back. */
function build(root, model, data, ink) {
  const { grid, maps } = gridOf(model, data, ink);
  const { line, chips, shares } = lineOf(model, data.tokens);
  const title = element("p", { class: "mgw-headline" });
  const summary = element("p", { class: "mgw-summary" });
  const spoken = liveText();
  root.append(element("div", { class: "mgw-columns" }, grid, element("div", {}, title, line, summary)), spoken.node);
  return { maps, chips, shares, title, summary, spoken };
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

/** Mark one of several buttons as the chosen one, which is also the one that Tab reaches. */
function press(buttons, chosen) {
  buttons.forEach((button, i) => {
    button.setAttribute("aria-pressed", i === chosen);
    button.tabIndex = i === chosen ? 0 : -1;
  });
}

function draw({ maps, chips, shares, ...view }, { map, position, weights, title, summary }) {
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
  view.spoken.say(`${title}: ${summary}`);
}

function render({ model, el }) {
  const listen = listener(model);
  const data = dataOf(model);
  const view = build(frame(el, "Attention explorer"), model, data, inkOn(el));
  const redraw = () => draw(view, compute(data, settingsOf(model, TRAITS)));
  listen.on(TRAITS, oncePerFrame(redraw));
  redraw();
  return () => {
    listen.stop();
    view.spoken.stop();
  };
}

export default { render };
