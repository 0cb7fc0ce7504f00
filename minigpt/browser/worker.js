// The model in a worker of the browser: the page asks, and stays free to scroll while the model reads and writes.
//
// A request is { id, name, ... }. Each answer carries its id: { id, ... } while it goes on; the last one has `done`,
// and `error`, a sentence, if it came to nothing.
import { GPT } from "./model.js";
import { readPageFile } from "./quantization.js";
import { generate } from "./sampling.js";
import { Tokenizer } from "./tokenizer.js";

let model = null;
let tokenizer = null;
/** The ids of the requests whose texts are being written. */
const writing = new Set();

/** The tokens of a text, of which an empty one has the end of the text before. */
function tokensOf(text) {
  const ids = tokenizer.encode(text);
  return ids.length ? ids : [tokenizer.endOfText];
}

const requests = {
  /** Take a model from the bytes of its file. `isSimd`: whether WebAssembly multiplies. */
  load({ buffer }) {
    const { config, weights, tokenizer: description } = readPageFile(buffer);
    [model, tokenizer] = [new GPT(config, weights), new Tokenizer(description)];
    const names = Array.from({ length: config.vocab_size }, (_, id) => tokenizer.shown(id));
    return { config, names, isSimd: model.isSimd };
  },

  /** Continue a text: first the tokens of the prompt, then each new one with the scores it was drawn from. */
  async write({ id, prompt, settings }) {
    const tokens = tokensOf(prompt);
    const stop = settings.stopAtLineEnd ? tokenizer.idsWith("\n") : [];
    const text = tokenizer.stream();
    writing.add(id);
    try {
      await messagesHaveArrived(); // a later one may have stopped this text already
      if (!writing.has(id)) return { text: "", stopped: true };
      self.postMessage({ id, tokens, texts: tokens.map(tokenizer.stream()) });
      for (const { token, logits } of generate(model, tokens, { ...settings, stop })) {
        self.postMessage({ id, token, text: text(token), logits });
        await messagesHaveArrived();
        if (!writing.has(id)) return { text: text(), stopped: true };
      }
      return { text: text() };
    } finally {
      writing.delete(id);
    }
  },

  /** End the text of a request. */
  stop({ writer }) {
    writing.delete(writer);
    return {};
  },

  /** The scores for what follows a text. */
  next({ prompt }) {
    const tokens = tokensOf(prompt);
    return { tokens, logits: model.nextLogits(tokens.slice(-model.config.context_length)) };
  },

  /** Who looks at whom in a text or its tokens, and what each layer would say; of the last ones in the context. */
  look({ prompt, tokens = tokensOf(prompt) }) {
    const seen = tokens.slice(-model.config.context_length);
    return { tokens: seen, weights: model.attentionWeights(seen), lens: model.logitLens(seen) };
  },
};

/** Give way to messages that wait. (A timer would do, but waits for 4 ms.) */
function messagesHaveArrived() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    const arrived = () => {
      port1.close();
      resolve();
    };
    port1.addEventListener("message", arrived, { once: true });
    port1.start();
    port2.postMessage(null);
  });
}

self.addEventListener("message", async ({ data: { id, name, ...request } }) => {
  try {
    if (name !== "load" && model === null) throw new Error("The model has not been loaded.");
    self.postMessage({ id, done: true, ...(await requests[name]({ id, ...request })) });
  } catch (error) {
    self.postMessage({ id, done: true, error: error.message });
  }
});
