// Text to token ids and back, for a browser: byte-level byte-pair encoding, as minigpt/tokenizer.py trains it.
// The tests hold the ids against those of the library that Python uses.

const END_OF_TEXT = "<|endoftext|>";

/** GPT-2's way to cut a text before merging: contractions, words, numbers, signs, spaces. White space is Unicode's. */
const PIECES = new RegExp(
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+" +
    "|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+",
  "gu",
);

/** In a vocabulary every byte is written as one character; those that can't be seen get one from 256 on. */
const BYTES = new Map(); // from a character to its byte
const CHARACTERS = []; // from a byte to its character
for (let byte = 0, next = 256; byte < 256; byte++) {
  const isVisible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  CHARACTERS[byte] = String.fromCodePoint(isVisible ? byte : next++);
  BYTES.set(CHARACTERS[byte], byte);
}

export class Tokenizer {
  /** @param description the object in a tokenizer.json */
  constructor({ model, added_tokens, normalizer, pre_tokenizer, post_processor }) {
    const isKnown = model?.type === "BPE" && pre_tokenizer?.type === "ByteLevel" && pre_tokenizer.use_regex !== false;
    if (!isKnown || pre_tokenizer.add_prefix_space || normalizer || post_processor) {
      throw new TypeError("tokenizer must be a byte-level BPE without a normalizer; it is something else");
    }
    this.ids = new Map(Object.entries(model.vocab));
    this.names = [];
    for (const [name, id] of this.ids) this.names[id] = name;
    /** The place of a pair of neighbours in the order of merging. */
    this.ranks = new Map(model.merges.map((pair, rank) => [typeof pair === "string" ? pair : pair.join(" "), rank]));
    this.special = new Map(added_tokens.map(({ content, id }) => [content, id]));
    for (const [content, id] of this.special) this.names[id] = content;
    this.endOfText = this.special.get(END_OF_TEXT);
    this.known = new Map(); // the ids of pieces met before
  }

  /** The ids of a text. */
  encode(text) {
    const ids = [];
    const specials = [...this.special.keys()].map((content) => content.replace(/[^\w]/g, "\\$&"));
    const parts = specials.length ? text.split(new RegExp(`(${specials.join("|")})`)) : [text];
    for (const part of parts) {
      if (this.special.has(part)) ids.push(this.special.get(part));
      else for (const [piece] of part.matchAll(PIECES)) ids.push(...this.encodePiece(piece));
    }
    return ids;
  }

  encodePiece(piece) {
    if (!this.known.has(piece)) {
      const letters = Array.from(new TextEncoder().encode(piece), (byte) => CHARACTERS[byte]);
      this.known.set(
        piece,
        this.merge(letters).map((name) => this.ids.get(name)),
      );
    }
    return this.known.get(piece);
  }

  /** Join the neighbours that were joined first in training, wherever they stand, until none are known. */
  merge(parts) {
    for (;;) {
      let [best, pair] = [Infinity, null];
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = this.ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (rank < best) [best, pair] = [rank, [parts[i], parts[i + 1]]];
      }
      if (pair === null) return parts;
      const joined = [];
      for (let i = 0; i < parts.length; i++) {
        const isPair = parts[i] === pair[0] && parts[i + 1] === pair[1];
        joined.push(isPair ? parts[i] + parts[++i] : parts[i]);
      }
      parts = joined;
    }
  }

  /** The bytes that a token stands for; none for a special token. */
  bytes(id) {
    const name = this.names[id];
    if (name === undefined) throw new RangeError(`id must be that of a token; got ${id}`);
    return this.special.has(name) ? new Uint8Array() : Uint8Array.from(name, (character) => BYTES.get(character));
  }

  /** How a token is shown: its text, or its name in the vocabulary where it is only a part of a character. */
  shown(id) {
    const name = this.names[id];
    if (name === undefined) return `<token ${id}>`;
    const text = this.decode([id]);
    return text === "" || text.includes("\ufffd") ? name : text;
  }

  /** The tokens that hold a character. */
  idsWith(character) {
    return [...this.names.keys()].filter((id) => this.decode([id]).includes(character));
  }

  /** The text of ids; where bytes make no character, there is a replacement character. */
  decode(ids) {
    const piece = this.stream();
    return ids.map(piece).join("") + piece();
  }

  /** A function that takes one id after the other and returns the characters that are whole by then. */
  stream() {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return (id) => (id === undefined ? decoder.decode() : decoder.decode(this.bytes(id), { stream: true }));
  }
}
