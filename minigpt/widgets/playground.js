// Playground: a line to type into, and a GPT that goes on, in the page.
import {
  assign,
  button,
  element,
  frame,
  growing,
  knobs,
  listener,
  oncePerFrame,
  overlay,
  seedField,
  settingsOf,
  slider,
  tick,
} from "./controls.js";
import { engineOf, leave, statusLine } from "./engine.js";
import { experimentsOf } from "./experiments.js";
import { linkOf, pythonOf, takeLink } from "./links.js";
import { openedToken } from "./opened.js";
import { phrases, TextView } from "./texts.js";

const KNOBS = ["temperature", "top_k", "top_p", "min_p", "max_new_tokens"];
const SHARED = ["seed", "stop_at_line_end"];
const MOST_NEW_TOKENS = 1000;

/** What generate in browser/sampling.js is to be told. */
function settingsFrom(model) {
  const { temperature, top_k: topK, top_p: topP, min_p: minP, ...rest } = settingsOf(model, [...KNOBS, ...SHARED]);
  const { max_new_tokens: maxNewTokens, seed, stop_at_line_end: stopAtLineEnd } = rest;
  return { temperature, topK, topP, minP, maxNewTokens, seed, stopAtLineEnd };
}

/** The sliders of a pane; the small form has the first one only. */
function slidersOf(model, listen) {
  const length = { trait: "max_new_tokens", label: "New tokens at most", values: growing(MOST_NEW_TOKENS) };
  const all = [...knobs(model.get("vocab_size")), length];
  const shown = model.get("small") ? all.slice(0, 1) : all;
  return element("div", { class: "mgw-sliders" }, ...shown.map((knob) => slider(model, listen, knob).node));
}

/** A text that the model writes with the knobs of one pane. */
class Pane {
  /**
   * @param model the widget's model, or an overlay with knobs of its own
   * @param open called with this pane and the place of the token that the reader opens
   * @param begun called when a text begins anew
   * @param speak called with the phrases of the text
   */
  constructor(model, engine, name, { open, begun, speak }) {
    this.model = model;
    this.engine = engine;
    this.speak = speak;
    this.begun = begun;
    this.listen = listener(model);
    this.view = new TextView(name, (place) => open(this, place));
    this.tokens = []; // the ids of the text that was read, prompt included
    this.steps = []; // for each new token: { token, text, logits }
    this.writing = null;
    this.node = element(
      "section",
      { class: "mgw-pane", "aria-label": name },
      this.view.node,
      slidersOf(model, this.listen),
    );
  }

  /** Begin the text anew. Returns a promise that fails if the model can't be had. */
  write() {
    this.stop();
    const prompt = this.model.get("prompt");
    const settings = settingsFrom(this.model);
    const say = phrases(this.speak);
    let isFirst = true;
    const writing = this.engine.write(prompt, settings, (answer) => {
      if (isFirst) this.begin(answer, settings);
      else this.add(answer, say);
      isFirst = false;
    });
    this.writing = writing;
    return writing.done.then(({ text = "" }) => {
      if (this.writing !== writing) return;
      this.writing = null;
      this.view.finish(text);
      say(text, true);
    });
  }

  begin({ tokens, texts }, settings) {
    this.begun();
    this.settings = settings;
    this.tokens = [...tokens];
    this.steps = [];
    this.prompted = tokens.length;
    this.view.begin(texts);
  }

  add(step, say) {
    this.steps.push(step);
    this.tokens.push(step.token);
    this.view.add(step.text);
    say(step.text, false);
  }

  stop() {
    this.writing?.stop();
    this.writing = null;
  }

  /** End for good. */
  close() {
    this.stop();
    this.listen.stop();
  }
}

/** The prompt, the buttons, and the line that says how the model comes. */
function headOf(model, listen, engine, { write, stop, again }) {
  const prompt = element("textarea", { rows: 2, spellcheck: "false", "data-trait": "prompt" });
  prompt.value = model.get("prompt");
  prompt.addEventListener("input", () => assign(model, "prompt", prompt.value));
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) write();
  });
  listen.on(["prompt"], () => prompt.value === model.get("prompt") || (prompt.value = model.get("prompt")));
  const status = statusLine(engine);
  const buttons = element(
    "div",
    { class: "mgw-line" },
    button("Write", write, { class: "mgw-main" }),
    button("Stop", stop),
    button("Again, with the next seed", again),
  );
  const label = element("label", { class: "mgw-prompt" }, element("span", {}, "The text so far"), prompt);
  return { node: element("div", {}, label, buttons, status.node), status };
}

/** What both panes share: seed, line's end, coloured tokens, a second pane; and what can be taken away. */
function sharedOf(model, listen, toggleSecond) {
  const second = element("input", { type: "checkbox" });
  const update = () => (second.checked = model.get("second") !== null);
  second.addEventListener("change", () => toggleSecond(second.checked));
  listen.on(["second"], update);
  update();
  const copied = element("span", { role: "status" });
  const copy = (what, text) => async () => {
    try {
      await navigator.clipboard.writeText(text());
      copied.textContent = `${what} is copied.`;
    } catch {
      copied.replaceChildren(`This browser does not copy here. ${what}: `, element("code", {}, text()));
    }
  };
  const link = model.isStored
    ? [
        button(
          "Copy a link",
          copy("The link", () => linkOf(model)),
        ),
      ]
    : [];
  return element(
    "div",
    { class: "mgw-line mgw-shared" },
    seedField(model, listen),
    tick(model, listen, "stop_at_line_end", "stop at a line's end"),
    tick(model, listen, "show_tokens", "show tokens"),
    element("label", {}, second, element("span", {}, "two settings side by side")),
    ...link,
    button(
      "Copy the Python",
      copy("The Python", () => pythonOf(model)),
    ),
    copied,
  );
}

/** A log for screen readers: whole phrases are put into it one after the other. */
function spokenLog() {
  const node = element("div", { class: "mgw-spoken", role: "log", "aria-label": "What the model writes" });
  const speak = (phrase) => {
    node.append(element("p", {}, phrase));
    while (node.children.length > 20) node.firstChild.remove();
  };
  return { node, speak };
}

/** The panes, as many as there are settings. `changed` is called when a knob of the second one has moved. */
class Panes {
  constructor(model, engine, callbacks, changed) {
    Object.assign(this, { model, engine, callbacks, changed });
    this.node = element("div", { class: "mgw-panes" });
    this.all = [new Pane(model, engine, "The text", callbacks)];
    this.arrange();
  }

  arrange() {
    const second = this.model.get("second");
    if (JSON.stringify(second) === this.arranged) return;
    this.arranged = JSON.stringify(second);
    this.all.splice(1).forEach((pane) => pane.close());
    if (second) this.all.push(new Pane(this.withOwnKnobs(second), this.engine, "The second text", this.callbacks));
    this.node.replaceChildren(...this.all.map((pane) => pane.node));
    this.node.classList.toggle("mgw-two", this.all.length === 2);
    this.changed();
  }

  withOwnKnobs(second) {
    return overlay(this.model, { ...second }, (knobsOf) => {
      this.arranged = JSON.stringify(knobsOf);
      assign(this.model, "second", { ...knobsOf });
      this.changed();
    });
  }

  /** Let all of them write. The promise fails if the model can't be had. */
  write() {
    return Promise.all(this.all.map((pane) => pane.write()));
  }

  stop() {
    this.all.forEach((pane) => pane.stop());
  }

  close() {
    this.all.forEach((pane) => pane.close());
  }
}

function render({ model, el }) {
  const isSmall = model.get("small");
  const take = () => model.isStored && !isSmall && takeLink(model);
  addEventListener("hashchange", take);
  take();
  const listen = listener(model);
  const root = frame(el, "Playground");
  const engine = engineOf(model);
  const log = spokenLog();
  const opened = openedToken(engine, root);
  let latest = 0; // the number of the writing that goes on; 0 before the first and after the last
  let isStale = false; // knobs have moved since the text was begun

  const write = async () => {
    const mine = ++latest;
    isStale = false;
    opened.close();
    root.dataset.state = "writing";
    const isDone = await head.status.during(panes.write());
    if (mine !== latest) return;
    if (!isDone) panes.stop();
    root.dataset.state = isDone ? "written" : "failed";
  };
  // Once there is a text, it follows the knobs.
  const redo = oncePerFrame(() => isStale && latest > 0 && write());
  const rewrite = () => {
    isStale = true;
    redo();
  };
  const again = () => {
    assign(model, "seed", (model.get("seed") + 1) % 2 ** 31);
    write();
  };
  const open = (pane, place) => head.status.during(opened.open(pane, place));
  const callbacks = { speak: log.speak, begun: opened.close, open };
  const panes = new Panes(model, engine, callbacks, rewrite);
  const head = headOf(model, listen, engine, { write, stop: () => panes.stop(), again });
  const colour = () => root.classList.toggle("mgw-show-tokens", model.get("show_tokens"));
  const toggleSecond = (isOn) => assign(model, "second", isOn ? settingsOf(model, KNOBS) : null);

  listen.on(["second"], () => panes.arrange());
  listen.on([...KNOBS, ...SHARED], rewrite);
  listen.on(["show_tokens"], colour);
  colour();
  root.append(head.node);
  if (!isSmall) root.append(experimentsOf(model, write));
  root.append(panes.node, opened.node);
  if (!isSmall) root.append(sharedOf(model, listen, toggleSecond));
  root.append(log.node);
  return () => {
    latest = 0;
    removeEventListener("hashchange", take);
    listen.stop();
    panes.close();
    leave(model);
  };
}

export default { render };
