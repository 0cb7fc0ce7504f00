// The model in a worker of the browser: the page asks, and stays free to scroll while the model reads and writes.
//
// A request is { id, name, ... }. Each answer carries its id: { id, ... } while it goes on; the last one has `done`,
// and `error`, a sentence, if it came to nothing. A new text, or "stop", ends the one that is being written.
import { GPT } from "./model.js";
import { readPageFile } from "./quantization.js";
import { generate } from "./sampling.js";
import { Tokenizer } from "./tokenizer.js";

let model = null;
let tokenizer = null;
/** The id of the request whose text is being written. */
let writing = null;

const requests = {
  /** Take a model from the bytes of its file. */
  load({ buffer }) {
    const { config, weights, tokenizer: description } = readPageFile(buffer);
    [model, tokenizer] = [new GPT(config, weights), new Tokenizer(description)];
    return { config };
  },

  /** Continue a text: first the tokens of the prompt, then each new one with what it was drawn from. */
  async write({ id, prompt, settings }) {
    const ids = tokenizer.encode(prompt);
    if (ids.length === 0) ids.push(tokenizer.endOfText);
    const stop = settings.stopAtLineEnd ? tokenizer.encode("\n") : [];
    writing = id;
    self.postMessage({ id, prompt: ids.map((token) => ({ token, text: tokenizer.decode([token]) })) });
    const text = tokenizer.stream();
    for (const { token, probabilities, logits } of generate(model, ids, { ...settings, stop })) {
      self.postMessage({ id, token, text: text(token), probabilities, logits });
      await messagesHaveArrived();
      if (writing !== id) return { stopped: true };
    }
    return { text: text() };
  },

  stop() {
    writing = null;
    return {};
  },

  /** Who looks at whom in a text of tokens: the last ones that the context holds. */
  look({ tokens }) {
    const seen = tokens.slice(-model.config.context_length);
    return { seen: seen.length, weights: model.attentionWeights(seen) };
  },
};

/** Give way to messages that wait. (A timer would do, but waits for 4 ms.) */
function messagesHaveArrived() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.addEventListener("message", resolve, { once: true });
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
