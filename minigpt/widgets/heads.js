// Pictures of attention heads: a grid to choose from, and the colour that can be seen on the page.
import { element, range } from "./controls.js";

const BLUE = { onLight: [0, 98, 170], onDark: [110, 190, 250] };

/** Let the arrow keys walk over a grid of buttons, of which one at a time can be reached by Tab. */
export function walkable(container, buttons, columns) {
  container.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const here = buttons.indexOf(event.target.closest("button, [role=button]"));
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

/** Mark one of several buttons as the chosen one, which is also the one that Tab reaches. */
export function press(buttons, chosen) {
  buttons.forEach((one, i) => {
    one.setAttribute("aria-pressed", i === chosen);
    one.tabIndex = i === chosen ? 0 : -1;
  });
}

/** The blue that can be seen on the page: light text tells of a dark one. */
export function inkOn(el) {
  const [red, green, blue] = getComputedStyle(el).color.match(/\d+/g);
  return Math.max(red, green, blue) > 140 ? BLUE.onDark : BLUE.onLight;
}

/** A head's weights as a picture: a row for each of T tokens that look, with more ink where they look more. */
export function pictureOf(T, weightsOf, ink) {
  const canvas = element("canvas", { width: T, height: T, "aria-hidden": "true" });
  const paint = canvas.getContext("2d");
  const image = paint.createImageData(T, T);
  for (let row = 0; row < T; row++) {
    weightsOf(row).forEach((weight, column) => image.data.set([...ink, 255 * weight], 4 * (row * T + column)));
  }
  paint.putImageData(image, 0, 0);
  return canvas;
}

/**
 * All heads, a row for each layer: pictures to choose from.
 * @param layers the layers' numbers, each with H heads
 * @param pictureOfHead makes the picture of a layer and head
 * @param choose called with the chosen layer and head
 */
export function gridOf(layers, H, pictureOfHead, choose) {
  const heads = range(1, H);
  const mapButton = (layer, head) => {
    const attributes = { type: "button", class: "mgw-map", "aria-label": `layer ${layer}, head ${head}` };
    const made = element("button", attributes, pictureOfHead(layer, head));
    made.addEventListener("click", () => choose(layer, head));
    return made;
  };
  const rows = layers.map((layer) => heads.map((head) => mapButton(layer, head)));
  const label = (text) => element("span", { "aria-hidden": "true" }, text);
  const grid = element(
    "div",
    { class: "mgw-maps", role: "group", "aria-label": "Choose a head" },
    label(""),
    ...heads.map((head) => label(`head ${head}`)),
    ...rows.flatMap((row, i) => [label(`layer ${layers[i]}`), ...row]),
  );
  grid.style.setProperty("--columns", H);
  walkable(grid, rows.flat(), H);
  return { grid, maps: rows.flat() };
}
