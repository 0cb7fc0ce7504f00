// What minigpt/sampling.py and minigpt/parameters.py compute, for a browser, in double precision.
// The tests hold the two against each other.

/** Probabilities exp(score) / Σ exp(scores); a score of -Infinity gets 0. */
export function softmax(scores) {
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const probabilities = Float64Array.from(scores, (score) => Math.exp(score - largest));
  const sum = probabilities.reduce((a, b) => a + b, 0);
  return probabilities.map((p) => p / sum);
}

/** Indices from the smallest value to the largest, equal values in the order they stand in. */
export function ascending(values) {
  const order = Uint32Array.from(values.keys());
  return order.sort((i, j) => (values[i] < values[j] ? -1 : values[i] > values[j] ? 1 : i - j));
}

/**
 * The distribution that the next token is drawn from; see next_token_probabilities in Python.
 * @param logits scores of the whole vocabulary, V numbers
 * @param settings temperature, topK, topP, minP; null for a cut that is not made
 * @param order ascending(logits), for callers that have it already
 */
export function nextTokenProbabilities(logits, settings = {}, order = ascending(logits)) {
  const { temperature = 1, topK = null, topP = null, minP = null } = settings;
  const V = logits.length;
  const largest = logits[order[V - 1]];
  if (temperature === 0) {
    const only = logits.indexOf(largest);
    return Float64Array.from(logits, (_, i) => (i === only ? 1 : 0));
  }
  let scores = Float64Array.from(logits, (logit) => (logit - largest) / temperature);
  if (topK !== null) {
    const kth = scores[order[V - Math.min(topK, V)]];
    scores = scores.map((score) => (score < kth ? -Infinity : score));
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
  if (minP !== null) {
    const probabilities = softmax(scores);
    const least = minP * probabilities[order[V - 1]];
    scores = scores.map((score, i) => (probabilities[i] < least ? -Infinity : score));
  }
  return softmax(scores);
}

/** -Σ p·log₂ p, in bits. */
export function entropyBits(probabilities) {
  return probabilities.reduce((sum, p) => (p > 0 ? sum - p * Math.log2(p) : sum), 0);
}

/** A function that returns another random number in [0, 1) at each call; SplitMix (Steele et al. 2014) in 32 bits. */
export function randomNumbers(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
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

/** The parameters of a GPT with biases and F = 4·C, by group; see params_by_group in Python. Exact up to 2⁵³. */
export function paramsByGroup({ vocabSize: V, contextLength, dModel: C, nLayers: L, tieWeights }) {
  return {
    "token embedding": V * C,
    "position embedding": contextLength * C,
    attention: L * 4 * (C * C + C),
    "feed-forward": L * (8 * C * C + 5 * C),
    LayerNorm: (2 * L + 1) * 2 * C,
    "output head": tieWeights ? 0 : V * C,
  };
}
