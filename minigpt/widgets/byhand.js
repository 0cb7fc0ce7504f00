// ByHand: an exercise in plain Python that the reader solves and has checked in the page.
import workerSource from "./byhand_worker.js?raw";
import { button, element, frame } from "./controls.js";
import { codeField } from "./code.js";

/** How long a learner's code may run, how long Python may take to start, and how long its text may take to come. */
const LIMIT_MS = { code: 5_000, start: 60_000, text: 120_000 };
const TOO_LONG =
  "Your code was still running after 5 seconds, and was ended. Is there a loop without an end, " +
  "such as a while whose condition stays true?";
const NO_START =
  "Python does not start here: this browser, or the policy of the server that sent the page, forbids it.";

/** The text of the Python, from the kernel or the site; once for all widgets of a page. */
let asked = null;
function pythonOf(model) {
  asked ??= new Promise((resolve, reject) => {
    const end = (settle, value) => {
      clearTimeout(timer);
      model.off("msg:custom", hear);
      settle(value);
    };
    const hear = ({ python, error }) => {
      if (error) end(reject, new Error(error));
      else if (python) end(resolve, python);
    };
    const silent = new Error("Python does not come. Try again; in a notebook, run the cell once more.");
    const timer = setTimeout(() => end(reject, silent), LIMIT_MS.text);
    model.on("msg:custom", hear);
    model.send({ ask: "python" });
  });
  asked.catch(() => (asked = null)); // the next Check asks again
  return asked;
}

/**
 * Run and judge a learner's code in a worker of its own, which ends with it.
 * @param printed called with what the code prints
 * @param signal an AbortSignal that ends it early
 * @returns a promise of { passed, text, mistake, python, line }
 */
function judge({ python, name, source }, printed, signal) {
  return new Promise((resolve, reject) => {
    const address = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
    const worker = new Worker(address);
    let timer;
    let isOver = false; // a message may still be on its way
    const end = (settle, value) => {
      isOver = true;
      clearTimeout(timer);
      worker.terminate();
      URL.revokeObjectURL(address);
      settle(value);
    };
    const wait = (milliseconds, sentence) => {
      clearTimeout(timer);
      timer = setTimeout(() => end(reject, new Error(sentence)), milliseconds);
    };
    worker.addEventListener("message", ({ data }) => {
      if (isOver) return;
      if (data.printed) printed(data.printed);
      else if (data.error) end(reject, new Error(data.error));
      else if (data.verdict) end(resolve, data.verdict);
      else {
        wait(LIMIT_MS.code, TOO_LONG);
        worker.postMessage({ name, source });
      }
    });
    worker.addEventListener("error", (event) => end(reject, new Error(event.message || NO_START)));
    signal.addEventListener("abort", () => end(reject, new Error("")));
    wait(LIMIT_MS.start, NO_START);
    worker.postMessage({ python });
  });
}

/** What the reader has written, kept in this browser. A browser that refuses keeps nothing. */
function keptCode(name) {
  const key = `minigpt byhand ${name}`;
  const quietly = (action) => {
    try {
      return action();
    } catch {
      return null;
    }
  };
  return {
    read: () => quietly(() => localStorage.getItem(key)),
    write: (code) => quietly(() => localStorage.setItem(key, code)),
    forget: () => quietly(() => localStorage.removeItem(key)),
  };
}

/** What came out: the verdict, Python's own words, and what the code printed. */
function resultView() {
  const said = element("div", { class: "mgw-result", role: "status" });
  const printed = element("pre", { class: "mgw-code", tabindex: 0, "aria-label": "What your code printed" });
  const output = element(
    "div",
    { class: "mgw-printed" },
    element("p", {}, "Your code printed, in all cases together:"),
    printed,
  );
  output.hidden = true;
  return {
    node: element("div", {}, said, output),
    print(text) {
      output.hidden = false;
      printed.append(text);
    },
    say(sentence, cls = "") {
      said.replaceChildren(element("p", { class: cls }, sentence));
    },
    begin(sentence) {
      output.hidden = true;
      printed.replaceChildren();
      this.say(sentence);
    },
    judged({ passed, text, mistake, python }) {
      const [first, ...lines] = (mistake ? text.slice(0, text.lastIndexOf(mistake)) : text).trimEnd().split("\n");
      said.replaceChildren(
        element("p", { class: "mgw-headline" }, element("strong", {}, `${passed ? "✓ " : ""}${first}`)),
      );
      if (lines.length) said.append(element("pre", { class: "mgw-code" }, lines.join("\n")));
      if (mistake) said.append(element("p", { class: "mgw-refusal" }, mistake));
      if (python) said.append(element("p", {}, "Python says:"), element("pre", { class: "mgw-code" }, python));
    },
  };
}

/** The hints, one more with each press of the button. */
function hintsOf(hints) {
  const list = element("ol", { class: "mgw-hints", "aria-live": "polite", "aria-label": "Hints" });
  const update = () => {
    const shown = list.children.length;
    more.textContent = shown < hints.length ? `Hint ${shown + 1} of ${hints.length}` : "No more hints";
    more.setAttribute("aria-disabled", shown === hints.length);
  };
  const more = button("", () => {
    const hint = hints[list.children.length];
    if (hint === undefined) return;
    list.append(element("li", {}, hint));
    update();
  });
  update();
  return { list, more };
}

/** A solution, folded away; without one, nothing to see. */
function solutionOf(code) {
  const text = element("pre", { class: "mgw-code", tabindex: 0, "aria-label": "The solution's code" }, code.trimEnd());
  const folded = element("details", { class: "mgw-solution" }, element("summary", {}, "A solution"), text);
  folded.hidden = code === "";
  return folded;
}

/** A button that puts the first code back, and after that what it has taken away. */
function resetOf(field, stub) {
  let before = null;
  const show = (code) => {
    before = code;
    reset.textContent = code === null ? "Reset" : "Undo the reset";
  };
  const reset = button("Reset", () => {
    const code = field.get();
    field.set(before ?? stub);
    show(before === null && code !== stub ? code : null);
  });
  return { reset, typed: () => show(null) };
}

function render({ model, el }) {
  const name = model.get("name");
  const root = frame(el, `Exercise: ${name}`);
  const kept = keptCode(name);
  const stub = model.get("stub");
  const result = resultView();
  const hints = hintsOf(model.get("hints"));
  const solution = solutionOf(model.get("solution"));
  let running = null; // the AbortController of the check that goes on

  const check = async () => {
    running?.abort();
    const mine = (running = new AbortController());
    root.dataset.state = "checking";
    field.mark(0);
    const end = (state, show) => {
      if (mine.signal.aborted) return;
      running = null;
      show();
      root.dataset.state = state;
    };
    try {
      result.begin("Python starts …");
      const python = await pythonOf(model);
      if (mine.signal.aborted) return;
      const code = { python, name, source: field.get() };
      const verdict = await judge(code, result.print, mine.signal);
      end(verdict.passed ? "passed" : "failed", () => {
        result.judged(verdict);
        if (field.get() === code.source) field.mark(verdict.line);
        if (verdict.passed) solution.open = true;
      });
    } catch (error) {
      end("stopped", () => result.say(error.message, "mgw-refusal"));
    }
  };
  const field = codeField(`Your code for ${name}`, kept.read() ?? stub, check, (code, isTyped) => {
    if (isTyped) reset.typed();
    if (code === stub) kept.forget();
    else kept.write(code);
  });
  const reset = resetOf(field, stub);
  root.dataset.state = "idle";
  root.append(
    element("p", { class: "mgw-task" }, model.get("task")),
    field.node,
    element("div", { class: "mgw-line" }, button("Check", check, { class: "mgw-main" }), hints.more, reset.reset),
    hints.list,
    result.node,
    solution,
  );
  return () => running?.abort();
}

export default { render };
