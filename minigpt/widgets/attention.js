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
  visible,
} from "./controls.js";

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

function render({ model, el }) {
  const listen = listener(model);
  const root = frame(el, "Attention explorer");
  const tokens = model.get("tokens").map(visible);
  const named = (position) => `“${tokens[position]}” (token ${position + 1})`;
  const [layers, H, T] = [model.get("layers"), model.get("n_heads"), tokens.length];
  const all = floats(model, "weights");
  const rowOf = (layer, head, position) => {
    const start = ((layers.indexOf(layer) * H + head - 1) * T + position) * T;
    return all.subarray(start, start + T);
  };

  const light = getComputedStyle(el)
    .color.match(/\d+/g)
    .slice(0, 3)
    .some((part) => part > 140); // light text: a dark page
  const ink = light ? BLUE.onDark : BLUE.onLight;
  const maps = layers.flatMap((layer) =>
    range(1, H).map((head) => {
      const canvas = element("canvas", { width: T, height: T, "aria-hidden": "true" });
      const paint = canvas.getContext("2d");
      const image = paint.createImageData(T, T);
      range(0, T - 1).forEach((row) =>
        rowOf(layer, head, row).forEach((weight, column) =>
          image.data.set([...ink, 255 * weight], 4 * (row * T + column)),
        ),
      );
      paint.putImageData(image, 0, 0);
      const button = element(
        "button",
        { type: "button", class: "mgw-map", "aria-label": `layer ${layer}, head ${head}` },
        canvas,
      );
      button.addEventListener("click", () => {
        model.set("layer", layer);
        assign(model, "head", head);
      });
      return button;
    }),
  );
  const label = (text) => element("span", { "aria-hidden": "true" }, text);
  const grid = element(
    "div",
    { class: "mgw-maps", role: "group", "aria-label": "Choose a head" },
    label(""),
    ...range(1, H).map((head) => label(`head ${head}`)),
    ...layers.flatMap((layer, i) => [label(`layer ${layer}`), ...maps.slice(i * H, (i + 1) * H)]),
  );
  grid.style.setProperty("--columns", H);
  walkable(grid, maps, H);

  const chips = tokens.map((token, position) => {
    const share = element("span", { class: "mgw-share" });
    const chip = element(
      "button",
      { type: "button", class: "mgw-chip" },
      element("span", { class: "mgw-code" }, token),
      share,
    );
    const choose = () => assign(model, "position", position);
    chip.addEventListener("click", choose);
    chip.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && choose());
    return { chip, share };
  });
  const line = element(
    "div",
    { class: "mgw-chips", role: "group", "aria-label": "Choose a token" },
    ...chips.map((c) => c.chip),
  );
  walkable(
    line,
    chips.map((c) => c.chip),
    1,
  );

  const title = element("p", { class: "mgw-headline" });
  const summary = element("p", { class: "mgw-summary" });
  const spoken = liveText();
  root.append(element("div", { class: "mgw-columns" }, grid, element("div", {}, title, line, summary)), spoken.node);

  function redraw() {
    const [layer, head, position] = ["layer", "head", "position"].map((trait) => model.get(trait));
    const weights = rowOf(layer, head, position);
    title.textContent = `Layer ${layer}, head ${head}`;
    maps.forEach((button, i) => {
      const chosen = i === layers.indexOf(layer) * H + head - 1;
      button.setAttribute("aria-pressed", chosen);
      button.tabIndex = chosen ? 0 : -1;
    });
    chips.forEach(({ chip, share }, i) => {
      chip.setAttribute("aria-pressed", i === position);
      chip.tabIndex = i === position ? 0 : -1;
      chip.classList.toggle("mgw-out", i > position);
      chip.style.setProperty("--weight", weights[i]);
      chip.dataset.weight = weights[i];
      share.textContent = i > position ? "" : `${number(100 * weights[i])} %`;
    });
    const ranked = range(0, position)
      .sort((i, j) => weights[j] - weights[i])
      .slice(0, 3);
    summary.textContent = `${named(position)} looks most at ${ranked.map((i) => `${named(i)} ${percent(weights[i])}`).join(", ")}.`;
    spoken.say(`${title.textContent}: ${summary.textContent}`);
  }

  listen.on(["layer", "head", "position"], oncePerFrame(redraw));
  redraw();
  return () => {
    listen.stop();
    spoken.stop();
  };
}

export default { render };
