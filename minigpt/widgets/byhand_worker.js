// Python in a worker of the browser: it gets Brython with the checks once, then a learner's code to judge.
//
// Brython turns Python into JavaScript, and would run that by `new Function`, which a strict policy of a server forbids
// ('unsafe-eval'). Here it is run as a script from a blob instead, which the policy allows: the widgets come that way.

/** Run a text as a script. */
function load(text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    self.importScripts(address);
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** A function of the names of its parameters and the text of its body: what Function is, by way of a script. */
function functionOf(...parts) {
  const body = parts.pop() ?? "";
  load(`self.made = function (${parts.join(",")}\n) {\n${body}\n};`);
  const { made } = self;
  delete self.made;
  return made;
}

const DRIVER = `
from browser import self as page
from minigpt.marking.answer import in_python, verdict_on_source

def check(name, source):
    module = __import__("minigpt.marking.byhand." + name, globals(), None, ["EXERCISE"])
    try:
        verdict = verdict_on_source(module.EXERCISE, source, 0, page.printed)
    except BaseException as error:
        page.failed(type(error).__name__)
        return
    line = (verdict.got or {}).get("line") or 0
    page.judged(verdict.passed, verdict.text, verdict.mistake or "", in_python(verdict, source), line)

page.check = check
`;

/**
 * Start Python.
 * @param python the text of Brython with the checks, as minigpt/widgets/byhand.py puts it together
 */
function start(python) {
  functionOf.prototype = Function.prototype;
  self.Function = functionOf;
  self.eval = () => {}; // Brython asks it whether the browser is new enough
  load(python);
  const { __BRYTHON__: brython } = self;
  brython.protocol = "file"; // modules are looked for in what came with it only, never fetched
  brython.recursion_limit = 300; // more would overflow the stack of the JavaScript below
  self.brython({ debug: 0, indexedDB: false });
  brython.runPythonSource(DRIVER, "driver");
}

self.failed = (name) => self.postMessage({ error: `Your code was ended by ${name}.` });
self.printed = (text) => self.postMessage({ printed: text });
self.judged = (passed, text, mistake, python, line) =>
  self.postMessage({ verdict: { passed, text, mistake, python, line } });

self.addEventListener("message", ({ data }) => {
  try {
    if (data.python) start(data.python);
    else self.check(data.name, data.source);
    if (data.python) self.postMessage({ ready: true });
  } catch (error) {
    self.postMessage({ error: `Python stopped: ${error.message}` });
  }
});
