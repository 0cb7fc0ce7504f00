// A field for Python code: a textarea with line numbers, in which Tab indents and Enter keeps the indentation.
import { element } from "./controls.js";

const INDENT = "    ";
const HELP =
  "Tab indents, Shift+Tab takes an indentation away. Escape, then Tab leaves the field. Ctrl+Enter or ⌘+Enter checks.";
const FEWEST_LINES = 6;

/** Where the line begins that a place in a text belongs to. */
const lineStart = (text, place) => text.lastIndexOf("\n", place - 1) + 1;

/** Put a text in the place of a part of a field, so that the browser's undo knows of it. */
function replace(field, start, end, text) {
  field.focus();
  field.setSelectionRange(start, end);
  const isDone =
    text === "" ? start === end || document.execCommand("delete") : document.execCommand("insertText", false, text);
  if (isDone) return;
  field.setRangeText(text, start, end, "end");
  field.dispatchEvent(new Event("input"));
}

/** Indent the selected lines, or take an indentation away; without a selection, go to the next place that is one. */
function indent(field, isBack) {
  const { value, selectionStart, selectionEnd } = field;
  if (!isBack && selectionStart === selectionEnd) {
    const column = selectionStart - lineStart(value, selectionStart);
    replace(field, selectionStart, selectionEnd, INDENT.slice(column % INDENT.length));
    return;
  }
  const start = lineStart(value, selectionStart);
  const lines = value.slice(start, selectionEnd).split("\n");
  const changed = lines.map((line) => (isBack ? line.replace(/^ {1,4}|^\t/, "") : line && INDENT + line));
  const text = changed.join("\n");
  if (text === lines.join("\n")) return;
  replace(field, start, selectionEnd, text);
  const moved = Math.max(start, selectionStart + changed[0].length - lines[0].length);
  field.setSelectionRange(moved, Math.max(moved, start + text.length));
}

/** Begin a line as far in as the one before; further in behind a colon. */
function newLine(field) {
  const { value, selectionStart, selectionEnd } = field;
  const line = value.slice(lineStart(value, selectionStart), selectionStart);
  const further = /:\s*(#.*)?$/.test(line) ? INDENT : "";
  replace(field, selectionStart, selectionEnd, `\n${/^[ \t]*/.exec(line)[0]}${further}`);
}

/** Let Tab indent, Enter keep the indentation and Ctrl+Enter check. */
function listenToKeys(field, check) {
  let isLeaving = false; // Escape was pressed: Tab goes on to the next element
  field.addEventListener("blur", () => (isLeaving = false));
  field.addEventListener("keydown", (event) => {
    const isTab = event.key === "Tab" && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.isComposing || event.key === "Shift" || (isTab && isLeaving)) return;
    isLeaving = event.key === "Escape";
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) check();
    else if (event.key === "Enter" && !event.shiftKey && !event.altKey) newLine(field);
    else if (isTab) indent(field, event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation(); // a notebook has its own idea of these keys
  });
}

/** The numbers of a field's lines, and a function that brings them up to date. */
function lineNumbers(field) {
  const node = element("div", { class: "mgw-numbers", "aria-hidden": "true" });
  const show = (marked) => {
    field.rows = Math.max(FEWEST_LINES, field.value.split("\n").length + 1);
    const all = Array.from({ length: field.rows }, (_, i) =>
      element("span", i + 1 === marked ? { class: "mgw-wrong" } : {}, `${i + 1}`),
    );
    node.replaceChildren(...all);
  };
  return { node, show };
}

const PLAIN = { wrap: "off", spellcheck: "false", autocapitalize: "off", autocomplete: "off", autocorrect: "off" };

/**
 * The field.
 * @param label what a screen reader calls it
 * @param code the text to begin with
 * @param check called when the reader presses Ctrl+Enter
 * @param changed called with the text when it has changed, and whether the reader has typed the change
 */
export function codeField(label, code, check, changed) {
  const id = `mgw-help-${Math.random().toString(36).slice(2)}`;
  const field = element("textarea", { class: "mgw-code", "aria-label": label, "aria-describedby": id, ...PLAIN });
  const numbers = lineNumbers(field);
  let isSet = false; // the change is ours
  field.addEventListener("input", () => {
    numbers.show(0);
    changed(field.value, !isSet);
  });
  listenToKeys(field, check);
  field.value = code;
  numbers.show(0);
  const editor = element("div", { class: "mgw-editor" }, numbers.node, field);
  return {
    node: element("div", {}, editor, element("p", { class: "mgw-small", id }, HELP)),
    get: () => field.value,
    set(text) {
      isSet = true;
      replace(field, 0, field.value.length, text);
      isSet = false;
    },
    mark: numbers.show, // the number of a line; 0 for none
  };
}
