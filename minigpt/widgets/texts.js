// A text that a model writes: the prompt, then a piece for each new token, which can be opened.
import { element } from "./controls.js";

/** So many of the prompt's tokens have a piece of their own; what stands before them is one. */
const MOST_PIECES = 512;

const HINT = "Press Write, and the model goes on from your text, here in this page.";

export class TextView {
  /**
   * @param name what a screen reader calls it
   * @param open called with the place of the token that the reader opens, counted from 0 at the first new one
   */
  constructor(name, open) {
    this.open = open;
    this.given = []; // pieces of the prompt
    this.pieces = []; // pieces of the new tokens
    this.node = element("div", { class: "mgw-text", role: "group", "aria-label": `${name}, token by token` });
    this.node.append(element("span", { class: "mgw-hint" }, HINT));
    this.node.addEventListener("click", ({ target }) =>
      this.openAt(this.pieces.indexOf(target.closest("[role=button]"))),
    );
    this.node.addEventListener("keydown", (event) => this.walk(event));
  }

  openAt(place, isFocused = false) {
    const piece = this.pieces[place];
    if (!piece) return;
    this.pieces.forEach((other) => (other.tabIndex = -1));
    piece.tabIndex = 0;
    if (isFocused) piece.focus();
    this.open(place);
  }

  /** The arrow keys go from token to token. */
  walk(event) {
    const here = this.pieces.indexOf(event.target);
    const last = this.pieces.length - 1;
    const moves = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last, Enter: here, " ": here };
    if (here < 0 || event.ctrlKey || event.metaKey || event.altKey || !(event.key in moves)) return;
    event.preventDefault();
    this.openAt(moves[event.key], true);
  }

  /** Begin with the texts of the prompt's tokens. */
  begin(texts) {
    const cut = Math.max(0, texts.length - MOST_PIECES);
    const piece = (text) => element("span", { class: "mgw-given" }, text);
    this.given = texts.slice(cut).map(piece);
    this.pieces = [];
    this.node.replaceChildren(piece(texts.slice(0, cut).join("")), ...this.given);
  }

  /** Add a token's text. One that completes no character has none, but a place to click; a line's end gets a name. */
  add(text) {
    const piece = element("span", { class: "mgw-piece", role: "button" }, text || "\u25e6");
    piece.tabIndex = this.pieces.length ? -1 : 0;
    if (text === "") piece.classList.add("mgw-empty");
    if (/^\s*\n\s*$/.test(text)) piece.classList.add("mgw-blank");
    if (text.trim() === "") piece.setAttribute("aria-label", text.includes("\n") ? "line's end" : "no letter");
    this.pieces.push(piece);
    this.node.append(piece);
  }

  /** What was left of a character when the text ended. */
  finish(text) {
    if (text) this.node.append(text);
  }

  /** Mark a token as the one that is open; -1 none. */
  mark(place) {
    this.pieces.forEach((piece, i) => piece.setAttribute("aria-pressed", i === place));
  }

  /** Colour the pieces before a place, the last of them by the last weight; null takes the colours away. */
  shade(weights, place = 0) {
    const all = [...this.given, ...this.pieces];
    all.forEach((piece) => piece.style.removeProperty("--weight"));
    const first = this.given.length + place - (weights?.length ?? 0);
    weights?.forEach((weight, i) => all[first + i]?.style.setProperty("--weight", weight));
  }
}

/** A function that is given a text piece by piece, and hands on whole phrases. */
export function phrases(speak) {
  let phrase = "";
  return (text, isEnd) => {
    phrase += text;
    const isWhole = isEnd || /[.!?;:\n]\s*$/.test(phrase);
    if (!isWhole || phrase.trim() === "") return;
    speak(phrase.trim());
    phrase = "";
  };
}
