// Brings the widgets that a notebook has stored to life, without a kernel: for each view in the page, a model
// over the stored state and the front end that came with it. Says so on the page if it cannot.
"use strict";

(() => {
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';

  /** Where this script is, and beside it the files of the models and of Python. */
  const STATIC = new URL(".", document.currentScript.src || location.href);

  /** The bytes of a model that comes with the course, from the site; `progress` hears how many have come. */
  const fileOf = async (name, progress) => {
    if (!name) throw new Error("This model is only in the notebook: open the chapter in Colab, Binder or Jupyter.");
    if (location.protocol === "file:") return scriptFileOf(name);
    const address = new URL(`models/${name}.bin`, STATIC);
    const lost = "The model's file could not be fetched. Try again when there is a connection.";
    let response;
    try {
      // The browser asks whether its copy is still good; without a connection it takes the copy.
      response = await fetch(address, { cache: "no-cache" }).catch(() => fetch(address, { cache: "force-cache" }));
      if (!response.ok) throw new Error(response.statusText);
      const total = Number(response.headers.get("content-length")) || 4e6;
      const chunks = [];
      let come = 0;
      for (const reader = response.body.getReader(); ;) {
        const { done, value } = await reader.read();
        if (done) break;
        chunks.push(value);
        progress((come += value.length), Math.max(total, come));
      }
      return await new Blob(chunks).arrayBuffer();
    } catch (error) {
      throw new Error(`${lost} (${error.message})`, { cause: error });
    }
  };

  /** A text that a script registers: it comes even from a folder on disk, where nothing can be fetched. */
  const registered = (name, lost) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(`${name}.js`, STATIC);
      const end = () => {
        const text = globalThis.minigptFiles?.[name];
        delete globalThis.minigptFiles?.[name];
        script.remove();
        if (text) resolve(text);
        else reject(new Error(lost));
      };
      script.addEventListener("load", end);
      script.addEventListener("error", end);
      document.head.append(script);
    });

  const scriptFileOf = async (name) => {
    const text = await registered(`models/${name}`, `The model's file is missing: models/${name}.js`);
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  };

  const NO_PYTHON = "Python could not be fetched. Try again when there is a connection.";

  /** What anywidget gives a front end, over a state of our own. The site answers for the kernel. */
  const modelOf = (state) => {
    const heard = new Map();
    const tell = (event, ...what) => [...(heard.get(event) ?? [])].forEach((callback) => callback(...what));
    const answer = (content, buffers = []) => tell("msg:custom", content, buffers);
    return {
      isStored: true,
      send({ ask }) {
        if (ask === "python") {
          registered("python/python", NO_PYTHON).then(
            (python) => answer({ python }),
            (error) => answer({ error: error.message }),
          );
        }
        if (ask !== "model") return;
        fileOf(state.model_name, (...bytes) => answer({ progress: bytes })).then(
          (buffer) => answer({ model: true }, [new DataView(buffer)]),
          (error) => answer({ error: error.message }),
        );
      },
      get: (trait) => state[trait],
      set(trait, value) {
        if (state[trait] === value) return;
        state[trait] = value;
        tell(`change:${trait}`);
        tell("change");
      },
      save_changes() {},
      on: (event, callback) => heard.set(event, (heard.get(event) ?? new Set()).add(callback)),
      off: (event, callback) => (callback ? heard.get(event)?.delete(callback) : heard.delete(event)),
    };
  };

  /** A stored state with its binary parts put back in. */
  const unpacked = ({ state, buffers = [] }) => {
    for (const { path, data } of buffers) {
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
      const holder = path.slice(0, -1).reduce((inner, key) => inner[key], state);
      holder[path.at(-1)] = new DataView(bytes.buffer);
    }
    return state;
  };

  /** A front end, once for all widgets that share it. */
  const modules = new Map();
  const imported = (source) => {
    if (!modules.has(source)) {
      modules.set(source, import(URL.createObjectURL(new Blob([source], { type: "text/javascript" }))));
    }
    return modules.get(source);
  };

  const styles = new Set();
  const style = (css) => {
    if (!css || styles.has(css)) return;
    styles.add(css);
    document.head.appendChild(document.createElement("style")).textContent = css;
  };

  /** The model of a stored widget and its front end, once however often it is shown. */
  const models = new Map();
  const opened = (id, stored) => {
    const open = async () => {
      if (stored?.model_module !== "anywidget") throw new Error(`nothing is stored for the widget ${id}`);
      const state = unpacked(stored);
      const { default: widget } = await imported(state._esm);
      const model = modelOf(state);
      await widget.initialize?.({ model });
      style(state._css);
      return { model, widget };
    };
    if (!models.has(id)) models.set(id, open());
    return models.get(id);
  };

  const start = async () => {
    const stored = {};
    for (const script of document.querySelectorAll(STATE)) {
      try {
        Object.assign(stored, JSON.parse(script.textContent).state);
      } catch (error) {
        console.error(error); // the views below say what they miss
      }
    }
    for (const view of document.querySelectorAll(VIEW)) {
      const el = document.createElement("div");
      view.before(el);
      try {
        const id = JSON.parse(view.textContent).model_id;
        const { model, widget } = await opened(id, stored[id]);
        await widget.render({ model, el });
      } catch (error) {
        el.className = "mg-widget-error";
        el.setAttribute("role", "alert");
        el.textContent = `A widget should stand here and does not: ${error.message}`;
        console.error(error);
      }
    }
    document.documentElement.dataset.widgets = "ready";
  };
  start();
})();
