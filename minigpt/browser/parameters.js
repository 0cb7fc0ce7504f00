// What minigpt/parameters.py computes, for a browser. The tests hold the two against each other.

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

/** How many numbers each parameter has, in the model's order. */
export function parameterSizes({ vocab_size: V, context_length, d_model: C, n_layers: L, d_ff: F, bias, tie_weights }) {
  const withBias = (rows, columns = 1) => (bias ? [rows * columns, rows] : [rows * columns]);
  const repeated = (sizes, times) => Array.from({ length: times }, () => sizes).flat();
  const projections = repeated(withBias(C, C), 4);
  const block = [...withBias(C), ...projections, ...withBias(C), ...withBias(F, C), ...withBias(C, F)];
  return [V * C, context_length * C, ...repeated(block, L), ...withBias(C), ...(tie_weights ? [] : [V * C])];
}
