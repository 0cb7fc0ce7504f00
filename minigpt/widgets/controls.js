// What the widgets' front ends have in common: elements, labelled controls, one redraw a frame.

/** An element. Strings among the children become text, never markup: a token may read "<script>". */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A number with thousands separators, and decimals if asked for. */
export const number = (value, decimals = 0) =>
  value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

export const percent = (share) => `${number(100 * share, 1)}\u00a0%`; // which no line breaks

/** A token with its spaces and line breaks made visible. */
export const visible = (token) => token.replaceAll(" ", "·").replaceAll("\n", "⏎");

/** The float32 numbers that a trait of bytes holds. */
export function floats(model, trait) {
  const { buffer, byteOffset, byteLength } = model.get(trait);
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

/** Whole numbers from first to last. */
export const range = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

/** The frame of a widget: a named group that keeps its keys from the notebook around it. */
export function frame(el, label) {
  const root = element("div", {
    class: "mgw",
    role: "group",
    "aria-label": label,
    "data-lm-suppress-shortcuts": "true",
  });
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && !event.shiftKey) event.stopPropagation();
  });
  el.replaceChildren(root);
  return root;
}

/** Listen to a model, and get a function that stops all listening: what render() has to return. */
export function listener(model) {
  const heard = [];
  return {
    on(traits, callback) {
      for (const trait of traits) {
        model.on(`change:${trait}`, callback);
        heard.push([`change:${trait}`, callback]);
      }
    },
    stop: () => heard.forEach(([event, callback]) => model.off(event, callback)),
  };
}

/** A function that asks for one redraw at the next frame, however often it is called before. */
export function oncePerFrame(redraw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      redraw();
    });
  };
}

/** A text for screen readers, read out once it has stood still for a moment; what was there at first is not. */
export function liveText() {
  const node = element("p", { class: "mgw-spoken", role: "status" });
  let said;
  let timer;
  const stop = () => clearTimeout(timer);
  const say = (text) => {
    stop();
    if (said !== undefined && said !== text) timer = setTimeout(() => (node.textContent = said = text), 500);
    said ??= text;
  };
  return { node, say, stop };
}

/** The values of several traits, by their names. */
export const settingsOf = (model, traits) => Object.fromEntries(traits.map((trait) => [trait, model.get(trait)]));

/** Set a trait, here and in the kernel if there is one. */
export function assign(model, trait, value) {
  model.set(trait, value);
  model.save_changes();
}

/** A model with some traits of its own; the others are those of the given one. `changed` hears when its own change. */
export function overlay(model, own, changed = () => {}) {
  const heard = new Map();
  const isOwn = (event) => event.slice("change:".length) in own;
  return {
    get: (trait) => (trait in own ? own[trait] : model.get(trait)),
    set(trait, value) {
      if (!(trait in own)) return model.set(trait, value);
      if (own[trait] === value) return;
      own[trait] = value;
      [...(heard.get(`change:${trait}`) ?? [])].forEach((callback) => callback());
      changed(own);
    },
    save_changes: () => model.save_changes(),
    on(event, callback) {
      if (!isOwn(event)) return model.on(event, callback);
      heard.set(event, (heard.get(event) ?? new Set()).add(callback));
    },
    off: (event, callback) => (isOwn(event) ? heard.get(event)?.delete(callback) : model.off(event, callback)),
  };
}

/** 1, 2, ... 30, then in steps of about a twentieth, and at last the largest. */
export function growing(largest) {
  const steps = [];
  for (let k = 1; k < largest; k += Math.max(1, Math.round(k / 20))) steps.push(k);
  return [...steps, largest];
}

/** The sliders that bend a distribution over V tokens: what each is called, can be set to, and says. */
export function knobs(V) {
  const hundredths = (first, last) => range(first, last).map((n) => n / 100);
  const off = (is, show) => (value) => (value === is ? "off" : show(value));
  const decimals = (value) => number(value, 2);
  return [
    { trait: "temperature", label: "Temperature", values: hundredths(0, 200), show: decimals },
    {
      trait: "top_k",
      label: "Top-k",
      values: growing(V),
      show: off(V, number),
      toTrait: (k) => (k === V ? null : k),
      fromTrait: (k) => Math.min(k ?? V, V),
    },
    {
      trait: "top_p",
      label: "Top-p",
      values: hundredths(1, 100),
      show: off(1, decimals),
      fromTrait: (p) => p ?? 1,
    },
    {
      trait: "min_p",
      label: "Min-p",
      values: hundredths(0, 100),
      show: off(0, decimals),
      fromTrait: (p) => p ?? 0,
    },
  ];
}

/** A button with a text. */
export function button(text, clicked, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", clicked);
  return made;
}

/** A box to tick for a trait that is true or false. */
export function tick(model, listen, trait, label) {
  const box = element("input", { type: "checkbox", "data-trait": trait });
  const update = () => (box.checked = model.get(trait));
  box.addEventListener("change", () => assign(model, trait, box.checked));
  listen.on([trait], update);
  update();
  return element("label", {}, box, element("span", {}, label));
}

/** A field for the seed, a whole number from 0 to 2³¹ - 1. */
export function seedField(model, listen) {
  const field = element("input", { type: "number", min: 0, max: 2 ** 31 - 1, step: 1 });
  const update = () => (field.value = model.get("seed"));
  field.addEventListener("input", () => {
    if (field.value !== "" && field.checkValidity()) assign(model, "seed", Number(field.value));
  });
  field.addEventListener("change", update); // what was no seed goes
  listen.on(["seed"], update);
  update();
  return element("label", {}, element("span", {}, "Seed"), field);
}

/**
 * A labelled slider over a list of values.
 * @param values the list, or a function that returns it; a value set from Python may lie between
 * @param show how to write a value
 * @param toTrait, fromTrait where the trait says something else than the list, e.g. null for the last value
 * @param moved called with the new value after the reader has moved the slider
 */
export function slider(model, listen, { trait, label, values, show = number, toTrait, fromTrait, moved }) {
  const listed = typeof values === "function" ? values : () => values;
  const input = element("input", { type: "range", min: 0, step: 1, "data-trait": trait });
  const shown = element("span", { class: "mgw-value", "aria-hidden": "true" }); // the slider says it itself
  const update = () => {
    const list = listed();
    const value = fromTrait ? fromTrait(model.get(trait)) : model.get(trait);
    input.max = list.length - 1;
    input.value = nearest(list, value);
    shown.textContent = show(value);
    input.setAttribute("aria-valuetext", show(value));
  };
  input.addEventListener("input", () => {
    const value = listed()[input.value];
    assign(model, trait, toTrait ? toTrait(value) : value);
    moved?.(value);
  });
  listen.on([trait], update);
  update();
  const node = element("div", { class: "mgw-slider" }, element("label", {}, element("span", {}, label), input), shown);
  return { node, update };
}

/** The index of the value in an ascending list that is nearest to a given one. */
function nearest(list, value) {
  let best = 0;
  list.forEach((candidate, i) => {
    if (Math.abs(candidate - value) < Math.abs(list[best] - value)) best = i;
  });
  return best;
}

/** The heading of a table's column. */
export const heading = (text, cls) => element("th", { scope: "col", class: cls }, text);

/** A labelled list to choose from: pairs of value and text. */
export function chooser(label, options, chosen) {
  const select = element("select", {}, ...options.map(([value, text]) => element("option", { value }, text)));
  select.addEventListener("change", () => chosen(select.value));
  return { node: element("label", { class: "mgw-chooser" }, element("span", {}, label), select), select };
}
