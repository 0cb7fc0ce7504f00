// Runs a widget's model in a worker, as minigpt/widgets/engine.py offers it: gets its file when it is first needed.
import workerSource from "../browser/worker.js?raw";
import { button, element, number } from "./controls.js";

/** No word for so long means that there will be none. (A kernel that trains answers when it has done.) */
const PATIENCE_MS = { site: 30_000, kernel: 600_000 };

/** On a page without a kernel, widgets share a model; in a notebook each has its own. */
const shared = (globalThis[Symbol.for("minigpt engines")] ??= new Map());
const own = new WeakMap();

export function engineOf(model) {
  const [engines, key] = model.isStored ? [shared, model.get("model_name")] : [own, model];
  if (!engines.has(key)) engines.set(key, new Engine(model));
  return engines.get(key);
}

/** A widget's view is gone: in a notebook its engine goes with it. */
export function leave(model) {
  if (!model.isStored) own.get(model)?.close(new Error("The widget is gone."));
}

class Engine {
  constructor(model) {
    this.model = model;
    this.asked = new Map(); // what is to be done with the answers, by the request's id
    this.lastId = 0;
    this.progress = new Set(); // functions that hear how many bytes have come, and of how many
    this.opening = null;
  }

  /** Get the model to run, if it does not. Returns what the worker says of it: its configuration, its tokens' names. */
  open() {
    this.opening ??= this.start().catch((error) => {
      this.close(error);
      throw error;
    });
    return this.opening;
  }

  async start() {
    const buffer = await fileOf(this.model, (...bytes) => this.progress.forEach((hear) => hear(...bytes)));
    this.worker = new Worker(URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" })));
    this.worker.addEventListener("message", ({ data }) => this.hear(data));
    this.worker.addEventListener("error", (event) =>
      this.close(new Error(`The model stopped: ${event.message || "the browser does not run it"}.`)),
    );
    return this.send("load", { buffer }).done;
  }

  /** Give up: every request fails. The next one begins anew. */
  close(error) {
    this.worker?.terminate();
    this.opening = null;
    for (const { reject } of this.asked.values()) reject(error);
    this.asked.clear();
  }

  hear({ id, done, error, ...answer }) {
    const asked = this.asked.get(id);
    if (!asked) return;
    if (done) this.asked.delete(id);
    if (error) asked.reject(new Error(error));
    else if (done) asked.resolve(answer);
    else asked.heard(answer);
  }

  send(name, data, heard = () => {}) {
    const id = ++this.lastId;
    const done = new Promise((resolve, reject) => this.asked.set(id, { heard, resolve, reject }));
    this.worker.postMessage({ id, name, ...data });
    return { id, done };
  }

  /** Ask for something that has one answer. */
  async ask(name, data) {
    await this.open();
    return this.send(name, data).done;
  }

  /** Let the model write. `heard` gets every message of worker.js; `done` holds when the text has ended. */
  write(prompt, settings, heard) {
    let id = null;
    let stopped = false;
    const begin = async () => {
      await this.open();
      if (stopped) return { stopped };
      const writing = this.send("write", { prompt, settings }, (answer) => stopped || heard(answer));
      id = writing.id;
      return writing.done;
    };
    const stop = () => {
      stopped = true;
      if (id !== null && this.asked.has(id)) this.send("stop", { writer: id }).done.catch(() => {});
    };
    return { done: begin(), stop };
  }
}

/** The bytes of the model's file, from the kernel, or from the site that stands in for one. */
function fileOf(model, progress) {
  return new Promise((resolve, reject) => {
    let timer;
    const end = (settle, value) => {
      clearTimeout(timer);
      model.off("msg:custom", hear);
      settle(value);
    };
    const wait = () => {
      clearTimeout(timer);
      const silent = new Error("The model's file does not come. Try again; in a notebook, run the cell once more.");
      timer = setTimeout(() => end(reject, silent), model.isStored ? PATIENCE_MS.site : PATIENCE_MS.kernel);
    };
    const hear = (content, buffers) => {
      if (content.progress) {
        progress(...content.progress);
        wait();
      } else if (content.error) end(reject, new Error(content.error));
      else if (content.model) end(resolve, bytesOf(buffers[0]));
    };
    wait();
    model.on("msg:custom", hear);
    model.send({ ask: "model" });
  });
}

/** A buffer of its own from a view of bytes. */
const bytesOf = ({ buffer, byteOffset, byteLength }) => buffer.slice(byteOffset, byteOffset + byteLength);

/** A line that says how the model comes, and what went wrong. */
export function statusLine(engine) {
  const bar = element("progress", { max: 1, "aria-label": "The model's file" });
  const words = element("span", { role: "status" });
  const node = element("div", { class: "mgw-line mgw-status" }, bar, words);
  const megabytes = (bytes) => number(bytes / 1e6, 1);
  const clear = () => {
    engine.progress.delete(hear);
    bar.hidden = true;
    words.textContent = "";
    node.classList.remove("mgw-refusal");
  };
  const hear = (bytes, total) => {
    bar.hidden = false;
    bar.value = bytes / total;
    const text = `The model comes: ${megabytes(Math.min(bytes, total))} of ${megabytes(total)} MB.`;
    if (words.textContent !== text) words.textContent = text;
  };
  const fail = (error) => {
    clear();
    words.textContent = error.message;
    node.classList.add("mgw-refusal");
  };
  /** Show how the model comes while a promise is waited for, and why it fails. Returns whether it held. */
  const during = async (promise) => {
    clear();
    engine.progress.add(hear);
    try {
      await promise;
      clear();
      return true;
    } catch (error) {
      fail(error);
      return false;
    }
  };
  clear();
  return { node, during };
}

/**
 * A line for a text of the reader's own, which the widget's model reads here.
 * @param name the request to the worker, "next" or "look"
 * @param answered called with the answer, what `open` says, and the text
 */
export function ownText(model, name, answered) {
  const engine = engineOf(model);
  const field = element("input", {
    type: "text",
    "aria-label": "A text of your own",
    placeholder: "a text of your own",
  });
  const status = statusLine(engine);
  let latest = 0;
  const read = async () => {
    const mine = ++latest;
    const text = field.value;
    const reading = Promise.all([engine.ask(name, { prompt: text }), engine.open()]);
    await status.during(reading.then((answers) => mine === latest && answered(...answers, text)));
  };
  field.addEventListener("keydown", (event) => event.key === "Enter" && !event.isComposing && read());
  const line = element("div", { class: "mgw-line mgw-own" }, field, button("Read it", read));
  return element("div", {}, line, status.node);
}
