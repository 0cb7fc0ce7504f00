// The GPT of minigpt/model.py, with the attention of attention.py, for a browser: the same parts, names and steps.
// The tests hold the two against each other. It only reads: no dropout, no gradients, one sequence at a time.
//
// Letters: T positions read in this call, S positions that can be seen (those in the cache, then T), C = H·D the width,
// H heads of D, F the width inside feed-forward, V the vocabulary, L layers. A table (T, C) is a Float32Array of T·C
// numbers, row after row.
import { inSimdMemory, isSimd, products } from "./simd.js";

/** y = x Wᵀ + b, for every row of x. */
class Linear {
  constructor(weights, name, outputs, inputs, bias) {
    this.weight = taken(weights, `${name}.weight`, outputs * inputs); // (O, I)
    this.bias = bias ? taken(weights, `${name}.bias`, outputs) : new Float32Array(outputs); // (O,)
    this.outputs = outputs;
    this.inputs = inputs;
  }

  forward(x) {
    const { weight, bias, outputs: O, inputs: I } = this;
    const y = products(x, weight, I); // (T, O)
    for (let row = 0; row < y.length; row += O) {
      for (let o = 0; o < O; o++) y[row + o] += bias[o];
    }
    return y;
  }
}

/** Each row with mean 0 and variance 1, then scaled and shifted. */
class LayerNorm {
  constructor(weights, name, width, bias) {
    this.weight = taken(weights, `${name}.weight`, width); // (C,)
    this.bias = bias ? taken(weights, `${name}.bias`, width) : new Float32Array(width); // (C,)
  }

  forward(x) {
    const { weight, bias } = this;
    const C = weight.length;
    const y = new Float32Array(x.length); // (T, C)
    for (let row = 0; row < x.length; row += C) {
      let [sum, squares] = [0, 0];
      for (let i = 0; i < C; i++) sum += x[row + i];
      const mean = sum / C;
      for (let i = 0; i < C; i++) squares += (x[row + i] - mean) ** 2;
      const scale = 1 / Math.sqrt(squares / C + 1e-5);
      for (let i = 0; i < C; i++) y[row + i] = (x[row + i] - mean) * scale * weight[i] + bias[i];
    }
    return y;
  }
}

/** The keys and values that one attention layer has computed so far, S positions of C numbers each. */
class KVCache {
  constructor(contextLength, width) {
    this.length = 0;
    this.keys = new Float32Array(contextLength * width);
    this.values = new Float32Array(contextLength * width);
  }

  append(keys, values, width) {
    this.keys.set(keys, this.length * width);
    this.values.set(values, this.length * width);
    this.length += keys.length / width;
  }
}

/** Every position looks at itself and the positions before it, and takes what it needs. */
class MultiHeadAttention {
  constructor(weights, name, { d_model: C, n_heads: H, bias }) {
    this.heads = H;
    this.width = C;
    this.query = new Linear(weights, `${name}.query`, C, C, bias);
    this.key = new Linear(weights, `${name}.key`, C, C, bias);
    this.value = new Linear(weights, `${name}.value`, C, C, bias);
    this.output = new Linear(weights, `${name}.output`, C, C, bias);
  }

  /** With `looked`, an array, the weights (H, T, S) are pushed to it, too. */
  forward(x, cache, looked = null) {
    const { heads: H, width: C } = this;
    const D = C / H;
    const T = x.length / C;

    // 1. Project.
    const queries = this.query.forward(x); // (T, C)
    const keys = this.key.forward(x); // (T, C)
    const values = this.value.forward(x); // (T, C)

    // 2. Remember. (Nothing has to be split: head h is the h-th D numbers of each row.)
    const start = cache.length;
    cache.append(keys, values, C);
    const S = cache.length;

    // 3. Look: softmax(QKᵀ/√D)V. Position t sees the keys up to its own, start + t.
    const merged = new Float32Array(T * C); // (T, C)
    const weights = new Float32Array(H * T * S); // (H, T, S)
    for (let h = 0; h < H; h++) {
      for (let t = 0; t < T; t++) {
        const row = weights.subarray((h * T + t) * S, (h * T + t) * S + start + t + 1);
        compare(queries, t * C + h * D, cache.keys, h * D, C, D, row);
        softmaxOf(row);
        gather(row, cache.values, h * D, C, D, merged, t * C + h * D);
      }
    }
    if (looked) looked.push(weights);

    // 4. Mix.
    return this.output.forward(merged); // (T, C)
  }
}

/** How well a query matches each key, divided by √D: into `scores`, one for each position that is seen. */
function compare(queries, at, keys, from, C, D, scores) {
  const scale = 1 / Math.sqrt(D);
  for (let s = 0; s < scores.length; s++) {
    let sum = 0;
    for (let i = 0; i < D; i++) sum += queries[at + i] * keys[s * C + from + i];
    scores[s] = sum * scale;
  }
}

/** Scores become weights that sum to 1, in place. */
function softmaxOf(scores) {
  let [largest, sum] = [-Infinity, 0];
  for (let s = 0; s < scores.length; s++) largest = Math.max(largest, scores[s]);
  for (let s = 0; s < scores.length; s++) sum += scores[s] = Math.exp(scores[s] - largest);
  for (let s = 0; s < scores.length; s++) scores[s] /= sum;
}

/** The values, each as often as its weight says, summed up: D numbers from `at` on. */
function gather(weights, values, from, C, D, into, at) {
  for (let s = 0; s < weights.length; s++) {
    for (let i = 0; i < D; i++) into[at + i] += weights[s] * values[s * C + from + i];
  }
}

const ACTIVATIONS = {
  relu: (z) => Math.max(0, z),
  gelu: (z) => 0.5 * z * (1 + erf(z / Math.SQRT2)),
  gelu_tanh: (z) => 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z * z * z))),
};

/** The error function, wrong by 1.5e-7 at most (Abramowitz and Stegun 1964, formula 7.1.26). */
function erf(z) {
  const t = 1 / (1 + 0.3275911 * Math.abs(z));
  const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(z) * (1 - series * Math.exp(-z * z));
}

/** Two linear layers with a nonlinearity between, applied to every position by itself. */
class FeedForward {
  constructor(weights, name, { d_model: C, d_ff: F, bias, activation }) {
    this.activation = ACTIVATIONS[activation];
    this.expand = new Linear(weights, `${name}.expand`, F, C, bias);
    this.contract = new Linear(weights, `${name}.contract`, C, F, bias);
  }

  forward(x) {
    const hidden = this.expand.forward(x); // (T, F)
    const active = hidden.map(this.activation); // (T, F)
    return this.contract.forward(active); // (T, C)
  }
}

/** Attention, then feed-forward; each reads a normalised copy and adds to the residual stream. */
class Block {
  constructor(weights, name, config) {
    this.norm1 = new LayerNorm(weights, `${name}.norm1`, config.d_model, config.bias);
    this.attention = new MultiHeadAttention(weights, `${name}.attention`, config);
    this.norm2 = new LayerNorm(weights, `${name}.norm2`, config.d_model, config.bias);
    this.feedForward = new FeedForward(weights, `${name}.feed_forward`, config);
  }

  forward(x, cache, looked = null) {
    x = sum(x, this.attention.forward(this.norm1.forward(x), cache, looked)); // (T, C)
    return sum(x, this.feedForward.forward(this.norm2.forward(x))); // (T, C)
  }
}

const sum = (x, y) => x.map((number, i) => number + y[i]);

/** A decoder-only transformer: token ids in, a score for every possible next token out. */
export class GPT {
  /**
   * @param config the fields of GPTConfig
   * @param weights Float32Arrays by the names of the parameters in Python
   */
  constructor(config, weights) {
    const { d_model: C, d_ff: F, vocab_size: V, context_length, n_layers: L, bias } = config;
    this.config = config;
    weights = inSimdMemory(weights, Math.max(C, F, V)); // where products are fast, if the browser has such a place
    this.tokenEmbedding = taken(weights, "token_embedding.weight", V * C); // (V, C)
    this.positionEmbedding = taken(weights, "position_embedding.weight", context_length * C);
    this.blocks = Array.from({ length: L }, (_, i) => new Block(weights, `blocks.${i}`, config));
    this.norm = new LayerNorm(weights, "norm", C, bias);
    const tied = config.tie_weights ? { "head.weight": this.tokenEmbedding } : weights;
    this.head = new Linear(tied, "head", V, C, false);
    this.isSimd = isSimd(this.head.weight);
  }

  /** The scores for what follows each of the tokens, (T, V). They continue what `cache` has read. */
  forward(tokens, cache = this.newCache()) {
    return this.head.forward(this.hiddenStates(tokens, cache)); // (T, V)
  }

  /** The scores for what follows the last of the tokens, (V,). */
  nextLogits(tokens, cache = this.newCache()) {
    return this.head.forward(this.hiddenStates(tokens, cache).slice(-this.config.d_model)); // (V,)
  }

  /** What the head reads, (T, C). Each layer's attention weights (H, T, S) are pushed to `looked`, if it is given. */
  hiddenStates(tokens, cache, looked = null) {
    this.check(tokens, cache);
    let x = this.embed(tokens, cache[0].length); // (T, C)
    this.blocks.forEach((block, i) => (x = block.forward(x, cache[i], looked)));
    return this.norm.forward(x); // (T, C)
  }

  /** What enters the first block, (T, C); `start` is the first position. */
  embed(tokens, start) {
    const C = this.config.d_model;
    const x = new Float32Array(tokens.length * C); // (T, C)
    tokens.forEach((token, t) => {
      for (let i = 0; i < C; i++) {
        const meaning = this.tokenEmbedding[token * C + i];
        const place = this.positionEmbedding[(start + t) * C + i];
        x[t * C + i] = meaning + place;
      }
    });
    return x;
  }

  check(tokens, cache) {
    const { vocab_size: V, context_length } = this.config;
    const positions = cache[0].length + tokens.length;
    if (tokens.length === 0 || positions > context_length) {
      throw new RangeError(`tokens must fill 1 to ${context_length} positions; got ${positions}`);
    }
    for (const token of tokens) {
      if (!(Number.isInteger(token) && token >= 0 && token < V)) {
        throw new RangeError(`tokens must be from 0 to ${V - 1}; got ${token}`);
      }
    }
  }

  /** An empty cache for each layer. */
  newCache() {
    return this.blocks.map(() => new KVCache(this.config.context_length, this.config.d_model));
  }

  /** Who looks at whom: for each of the L layers the weights of its heads, (H, T, T). */
  attentionWeights(tokens) {
    const looked = [];
    this.hiddenStates(tokens, this.newCache(), looked);
    return looked;
  }

  /** What the model would say if it ended earlier: the next token's scores after 0, 1, ... L blocks, (V,) each. */
  logitLens(tokens) {
    const [cache, C] = [this.newCache(), this.config.d_model];
    const scores = (x) => this.head.forward(this.norm.forward(x.slice(-C))); // (V,)
    let x = this.embed(tokens, 0); // (T, C)
    const said = [scores(x)];
    this.blocks.forEach((block, i) => {
      x = block.forward(x, cache[i]); // (T, C)
      said.push(scores(x));
    });
    return said;
  }
}

/** A weight by its name; an error that names it, if it is missing or of another size. */
function taken(weights, name, length) {
  const weight = weights[name];
  if (weight?.length !== length) {
    throw new RangeError(`weights must hold ${name}, ${length} numbers; got ${weight?.length ?? "none"}`);
  }
  return weight;
}
