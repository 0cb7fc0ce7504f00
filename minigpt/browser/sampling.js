// What minigpt/sampling.py computes, for a browser, in double precision.
// The tests hold the two against each other.

/** Probabilities exp(score) / Σ exp(scores); a score of -Infinity gets 0. */
function softmax(scores) {
  let largest = -Infinity;
  for (const score of scores) if (score > largest) largest = score;
  const probabilities = new Float64Array(scores.length);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    if (scores[i] !== -Infinity) sum += probabilities[i] = Math.exp(scores[i] - largest);
  }
  for (let i = 0; i < scores.length; i++) probabilities[i] /= sum;
  return probabilities;
}

/** Indices from the smallest value to the largest, equal values from the last to the first. */
export function ascending(values) {
  const order = Uint32Array.from(values.keys());
  return order.sort((i, j) => (values[i] < values[j] ? -1 : values[i] > values[j] ? 1 : j - i));
}

/**
 * The distribution that the next token is drawn from; see next_token_probabilities in Python.
 * @param logits scores of the whole vocabulary, V numbers
 * @param settings temperature, topK, topP, minP; null for a cut that is not made
 * @param order ascending(logits), for callers that have it already
 */
export function nextTokenProbabilities(logits, settings = {}, order = null) {
  const { temperature = 1, topK = null, topP = null, minP = null } = settings;
  const V = logits.length;
  const largest = logits.reduce((a, b) => Math.max(a, b));
  if (topK !== null || (topP ?? 1) < 1) order ??= ascending(logits);
  const scores = new Float64Array(V);
  if (temperature === 0) {
    scores[logits.indexOf(largest)] = 1;
    return scores;
  }
  for (let i = 0; i < V; i++) scores[i] = (logits[i] - largest) / temperature;
  if (topK !== null) {
    const kth = scores[order[V - Math.min(topK, V)]];
    for (let i = 0; i < V; i++) if (scores[i] < kth) scores[i] = -Infinity;
  }
  if (topP !== null && topP < 1) {
    const probabilities = softmax(scores);
    let tail = 0;
    for (const i of order.subarray(0, V - 1)) {
      tail += probabilities[i];
      if (tail > 1 - topP) break;
      scores[i] = -Infinity;
    }
  }
  if (minP !== null && minP > 0) {
    const probabilities = softmax(scores);
    const least = minP * probabilities[logits.indexOf(largest)];
    for (let i = 0; i < V; i++) if (probabilities[i] < least) scores[i] = -Infinity;
  }
  return softmax(scores);
}

/** Which cut rules out each token: "top-k", "top-p", "min-p", or undefined for those that can be drawn. */
export function cutsOf(logits, { temperature, topK, topP, minP }) {
  const order = ascending(logits);
  const uncut = nextTokenProbabilities(logits, { temperature }, order);
  const cuts = { "top-k": { topK }, "top-p": { topK, topP }, "min-p": { topK, topP, minP } };
  const reasons = Array.from({ length: logits.length });
  for (const [cut, settings] of Object.entries(cuts)) {
    const probabilities = nextTokenProbabilities(logits, { temperature, ...settings }, order);
    probabilities.forEach((p, id) => {
      if (p === 0 && uncut[id] > 0) reasons[id] ??= cut;
    });
  }
  return reasons;
}

/** -Σ p·log₂ p, in bits. */
export function entropyBits(probabilities) {
  let bits = 0;
  for (const p of probabilities) if (p > 0) bits -= p * Math.log2(p);
  return bits;
}

/** A function that returns the next random number in [0, 1) at each call; see RandomNumbers in Python. */
export function randomNumbers(seed) {
  const in64Bits = (number) => BigInt.asUintN(64, number);
  let state = in64Bits(BigInt(seed));
  return () => {
    state = in64Bits(state + 0x9e3779b97f4a7c15n);
    let mixed = in64Bits((state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n);
    mixed = in64Bits((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
    return Number((mixed ^ (mixed >> 31n)) >> 11n) / 2 ** 53;
  };
}

/** A function that draws an index from a distribution: which of the p, laid end to end, does a random point fall on? */
export function drawer(probabilities, random) {
  let sum = 0;
  const ends = probabilities.map((p) => (sum += p));
  return () => {
    const point = random() * sum;
    let low = 0;
    let high = ends.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle] > point) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/**
 * Let a model go on, one token after the other; see generate in Python. Yields the token, its distribution and the
 * logits behind it. As long as everything fits, each step reads one position; then the window moves with each token.
 * @param model a GPT
 * @param prompt one token at least
 * @param settings temperature, topK, topP, minP, maxNewTokens, seed (a whole number), stop (ids)
 */
export function* generate(model, prompt, { maxNewTokens, seed, stop = [], ...knobs }) {
  const { context_length } = model.config;
  const random = randomNumbers(seed);
  let window = prompt.slice(-context_length); // of its own
  let cache = model.newCache();
  let unread = [...window];
  for (let n = 0; n < maxNewTokens; n++) {
    const logits = model.nextLogits(unread, cache); // (V,)
    const probabilities = nextTokenProbabilities(logits, knobs);
    const token = knobs.temperature === 0 ? probabilities.indexOf(1) : drawer(probabilities, random)();
    window.push(token);
    unread = [token];
    if (window.length > context_length) {
      window = window.slice(1);
      [unread, cache] = [[...window], model.newCache()];
    }
    yield { token, probabilities, logits };
    if (stop.includes(token)) return;
  }
}
